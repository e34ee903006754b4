"""``check``: the layers it prints or draws, conversion, and warnings."""

import json
import re

import pytest
from hypothesis import given
from rich.cells import cell_len

from archon_batch.archon import layer_flows
from archon_batch.cli.architecture_drawing import draw_architecture
from archon_batch.config import read_architecture_file
from tests.builders import an_architecture, architectures
from tests.cli.terminal import Terminal

FUNNEL = """\
models:
  one: {model: scripted/plausible}
defaults: {model: one}
layers:
  - {type: unit_test_generator, unit_test_cap: 3}
  - - {type: generator, samples: 5}
    - {type: generator, samples: 1, model: scripted/rough}
  - {type: unit_test_evaluator, first_k: 2, top_k: 3}
  - {type: verifier}
  - {type: critic}
  - {type: fuser}
"""

TWO = """\
models:
  one: {model: scripted/plausible}
layers:
  - {type: generator, model: one, samples: 2}
"""

OLD = {
    "name": "old",
    "layers": [
        [
            {"type": "generator", "model": name, "model_type": "OpenAI_API", "top_k": 1}
            for name in ("gpt-4o", "gpt-4o-mini", "gpt-4-turbo")
        ],
        [{"type": "ranker", "model": "gpt-4o", "model_type": "OpenAI_API", "top_k": 5}],
        [{"type": "fuser", "model": "gpt-4o", "model_type": "OpenAI_API", "top_k": 1}],
    ],
}


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_check_has_a_row_for_each_component_and_one_for_all(terminal: Terminal) -> None:
    terminal.write("funnel.yaml", FUNNEL)

    ended = terminal.run("check", "funnel.yaml")

    assert ended.status == 0
    assert words(ended.out) == [
        ["funnel.yaml:", "architecture:", "funnel"],
        ["layer", "component", "model", "in", "out", "calls", "with", "retries"],
        ["0", "unit_test_generator", "one", "0", "0", "1", "3"],
        ["1", "generator", "x5", "one", "0", "6", "5", "15"],
        ["generator", "scripted/rough", "1", "3"],
        ["2", "unit_test_evaluator", "one", "6", "2-3", "2-6", "18"],
        ["3", "verifier", "one", "2-3", "1-3", "4-6", "18"],
        ["4", "critic", "one", "1-3", "1-3", "1", "3"],
        ["5", "fuser", "one", "1-3", "1", "1", "3"],
        ["a", "row", "15-21", "63"],
    ]


WIDE = """\
layers:
  - {type: unit_test_generator, model: one}
  - - {type: generator, model: one, samples: 1000}
    - {type: generator, model: MODEL, samples: 5}
  - {type: unit_test_evaluator, model: one, top_k: 20, first_k: 1, samples: 2}
  - {type: voter, extract: number}
"""


def test_the_table_fits_a_terminal_and_only_models_are_folded(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "together_ai/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
    terminal.write("wide.yaml", WIDE.replace("MODEL", name))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")

    ended = terminal.run("check", "wide.yaml")

    table = re.sub(r"\x1b\[[0-9;]*m", "", ended.out).splitlines()[1:]
    assert max(map(cell_len, table)) <= 80
    (evaluator,) = [line.split() for line in table if "unit_test_evaluator" in line]
    assert evaluator == [
        "2",
        "unit_test_evaluator",
        "x2",
        "one",
        "1,005",
        "1-20",
        "2-2,010",
        "6,030",
    ]
    assert table[-1].split() == ["a", "row", "1,008-3,016", "9,048"]
    first = next(n for n, line in enumerate(table) if "together" in line)
    column = table[first].index("together")
    folded = [line for line in table[first:] if line[:column].strip() in {"", "generator x5"}]
    pieces = [line[column:].split()[0] for line in folded]
    assert "".join(pieces) == name


def test_the_layers_are_drawn_from_question_to_answer(terminal: Terminal) -> None:
    terminal.write("funnel.yaml", FUNNEL)

    ended = terminal.run("check", "--graph", "funnel.yaml")

    assert ended.status == 0
    assert (
        ended.out
        == """\
funnel.yaml: architecture: funnel
                     question
                        │
                        ▼
┌─ layer 0 ──────────────────────────────────────┐
│ unit_test_generator  one                1 call │
└────────────────────────────────────────────────┘
                        │ unit tests
                        ▼
┌─ layer 1 ──────────────────────────────────────┐
│ generator x5         one               5 calls │
│ generator            scripted/rough     1 call │
└────────────────────────────────────────────────┘
                        │ 6 candidates
                        ▼
┌─ layer 2 ──────────────────────────────────────┐
│ unit_test_evaluator  one             2-6 calls │
└────────────────────────────────────────────────┘
                        │ 2-3 candidates
                        ▼
┌─ layer 3 ──────────────────────────────────────┐
│ verifier             one             4-6 calls │
└────────────────────────────────────────────────┘
                        │ 1-3 candidates
                        ▼
┌─ layer 4 ──────────────────────────────────────┐
│ critic               one                1 call │
└────────────────────────────────────────────────┘
                        │ 1-3 candidates, critiques
                        ▼
┌─ layer 5 ──────────────────────────────────────┐
│ fuser                one                1 call │
└────────────────────────────────────────────────┘
                        │ 1 candidate
                        ▼
                      answer
"""
    )


def test_a_drawing_says_when_the_first_of_several_answers() -> None:
    assert [*draw_architecture(an_architecture({"type": "generator", "samples": 2}))][
        -1
    ].strip() == ("answer: the first")


LONG = ("scripted/plausible", "a/" + "long" * 45, "模型" * 60, "a\n│\x1b[1m")


@given(architecture=architectures(models=LONG))
def test_no_drawing_is_wider_than_a_terminal_and_nothing_is_left_out(architecture) -> None:
    lines = [*draw_architecture(architecture)]

    assert max(map(cell_len, lines)) <= 80
    assert len({cell_len(line) for line in lines if line[0] in "┌│└"}) == 1
    boxed = "".join(line for line in lines if line.startswith("│")).replace("│", "")
    squeezed = re.sub(r"\s", "", boxed)
    for _, _, component in architecture:
        assert component.type in boxed
    for name in architecture.model_names:
        assert name[:6] in squeezed or ascii(name) in squeezed
    said = [line for line in lines if "candidate" in line]
    assert len(said) == sum(flow.candidates_out.high > 0 for flow in layer_flows(architecture))


@pytest.mark.parametrize(
    "command",
    [
        ["check", "two.yaml"],
        ["check", "--graph", "two.yaml"],
        ["check", "job.yaml"],
        ["check", "--convert", "two.yaml"],
        ["plan", "rows.jsonl", "--arch", "two.yaml"],
        ["submit", "rows.jsonl", "--arch", "two.yaml"],
        ["submit", "--job", "job.yaml"],
        ["try", "Why?", "--arch", "two.yaml"],
    ],
    ids=" ".join,
)
def test_every_command_warns_alike_with_line_and_place(
    terminal: Terminal, command: list[str]
) -> None:
    terminal.write("two.yaml", TWO)
    terminal.write("rows.jsonl", '{"prompt": "Why?"}\n')
    terminal.write("job.yaml", "dataset: rows.jsonl\narchitecture: two.yaml\n")

    ended = terminal.run(*command)

    assert ended.status == 0
    assert "warning" not in ended.out
    assert [line for line in ended.err.splitlines() if line.startswith("warning: ")] == [
        line
        for line in ended.err.splitlines()
        if line.startswith("warning: two.yaml:3: layers: up to 2")
    ]
    assert ended.err.count("warning: ") == 1


def test_replies_longer_than_the_model_gives_are_warned_of(terminal: Terminal) -> None:
    spec = "{type: generator, model: openai/gpt-4o-mini, max_tokens: 20000}"
    terminal.write("long.yaml", f"layers:\n  - {spec}\n")

    ended = terminal.run("check", "long.yaml")

    assert ended.status == 0
    assert "warning: long.yaml:2: layers[0][0].max_tokens: 20,000 is more than" in ended.err


def test_a_reference_configuration_is_shown_with_its_conversion_notes(
    terminal: Terminal,
) -> None:
    terminal.write("old.json", json.dumps(OLD, indent=1))

    ended = terminal.run("check", "old.json")

    assert ended.status == 0
    assert words(ended.out)[-1] == ["a", "row", "5", "15"]
    assert ended.err.splitlines() == [
        (
            "warning: old.json:9: layers[0][0].top_k: top_k means nothing on a generator; "
            "it is left out (the first of 3 places)"
        ),
        "warning: old.json:37: layers[2][0].top_k: top_k means nothing on a fuser; it is left out",
        (
            "warning: old.json:29: layers[1][0].top_k: 5 is more than the 3 candidates that can "
            "arrive; it counts as 3"
        ),
    ]


@pytest.mark.parametrize("options", [[], ["--graph"]])
def test_layers_are_shown_also_when_a_model_is_unknown_or_unpriced(
    terminal: Terminal, options: list[str]
) -> None:
    priceless = TWO.replace("scripted/plausible", "openai/x, api_base: http://127.0.0.1:1")
    terminal.write("priceless.yaml", priceless)
    terminal.write("unknown.yaml", TWO.replace("scripted/plausible", "nobody/knows"))

    priceless_ = terminal.run("check", *options, "priceless.yaml")
    allowed = terminal.run("check", *options, "--allow-unpriced", "priceless.yaml")
    unknown = terminal.run("check", *options, "unknown.yaml")

    assert (priceless_.status, allowed.status, unknown.status) == (0, 0, 2)
    for ended in (priceless_, allowed, unknown):
        assert "generator x2" in ended.out
        assert "up to 2 candidates" in ended.err
    where = "layers[0][0].model"
    assert "warning: priceless.yaml: no known price for openai/x, so submit" in priceless_.err
    assert "or pass --allow-unpriced" in priceless_.err
    assert "no price" not in allowed.err
    assert "error" not in priceless_.err + allowed.err
    assert f"error: unknown.yaml:4: {where}: nobody/knows: unknown provider" in unknown.err


def test_a_model_on_no_list_is_taken_without_a_price_and_all_of_them_are_named(
    terminal: Terminal,
) -> None:
    terminal.write(
        "retired.yaml",
        """\
layers:
  - - {type: generator, model: together_ai/old/model-1}
    - {type: generator, model: together_ai/old/model-2}
  - {type: ranker, model: together_ai/old/model-1}
  - {type: fuser, model: nobody/knows}
""",
    )

    refused = terminal.run("check", "retired.yaml")
    allowed = terminal.run("check", "--allow-unpriced", "retired.yaml")

    assert (refused.status, allowed.status) == (2, 2)
    for ended in (refused, allowed):
        assert "retired.yaml:5: layers[2][0].model: nobody/knows: unknown provider" in ended.err
        assert ended.err.count("error: ") == 1


def test_models_that_nobody_knows_are_told_each_with_its_line(terminal: Terminal) -> None:
    terminal.write(
        "arch.yaml",
        "layers:\n  - - {type: generator, model: a/b}\n    - {type: generator, model: c/d}\n",
    )

    ended = terminal.run("check", "arch.yaml")

    assert ended.status == 2
    assert "error: arch.yaml:2: layers[0][0].model: a/b: unknown provider" in ended.err
    assert "error: arch.yaml:3: layers[0][1].model: c/d: unknown provider" in ended.err


def test_a_configuration_is_converted_to_a_file_that_means_the_same(terminal: Terminal) -> None:
    terminal.write("old.json", json.dumps(OLD))

    shown = terminal.run("check", "--convert", "old.json")
    dashed = terminal.run("check", "--convert", "old.json", "-o", "-")
    written = terminal.run("check", "--convert", "old.json", "-o", "new.yaml")
    old, new = terminal.run("check", "old.json"), terminal.run("check", "new.yaml")

    assert (shown.status, dashed.status, written.status) == (0, 0, 0)
    assert shown.out == dashed.out == terminal.read("new.yaml")
    assert (
        shown.out
        == """\
# From old.json.
name: old
layers:
  - - {type: generator, model: openai/gpt-4o}
    - {type: generator, model: openai/gpt-4o-mini}
    - {type: generator, model: openai/gpt-4-turbo}
  - {type: ranker, model: openai/gpt-4o, top_k: 3}
  - {type: fuser, model: openai/gpt-4o}
"""
    )
    assert "top_k means nothing on a generator" in shown.err
    assert written.out == ""
    assert read_architecture_file("new.yaml") == read_architecture_file("old.json")
    assert old.out.splitlines()[1:] == new.out.splitlines()[1:]
    assert new.err == ""


def test_a_conversion_needs_no_price(terminal: Terminal) -> None:
    terminal.write("unknown.yaml", TWO.replace("scripted/plausible", "nobody/knows"))

    ended = terminal.run("check", "--convert", "unknown.yaml")

    assert ended.status == 0
    assert "one: {model: nobody/knows}" in ended.out


def test_a_conversion_replaces_no_file_unless_it_is_forced_to(terminal: Terminal) -> None:
    terminal.write("two.yaml", TWO)
    terminal.write("there.yaml", "mine")

    kept = terminal.run("check", "--convert", "two.yaml", "-o", "there.yaml")
    before = terminal.read("there.yaml")
    forced = terminal.run("check", "--convert", "two.yaml", "-o", "there.yaml", "--force")

    assert kept.status == 2
    assert "error: there.yaml exists; --force overwrites it" in kept.err
    assert before == "mine"
    assert forced.status == 0
    assert terminal.read("there.yaml").startswith("# From two.yaml.\nname: two\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--convert", "two.yaml", "two.yaml"], "--convert takes one file"),
        (["--convert", "--graph", "two.yaml"], "--convert takes one file and no --graph"),
        (["-o", "new.yaml", "two.yaml"], "-o and --force need --convert"),
        (["--force", "two.yaml"], "-o and --force need --convert"),
        (["--convert"], "Missing argument 'FILES...'"),
        (["--convert", "gone.yaml"], "gone.yaml: no such file"),
        (["--convert", "job.yaml"], "job.yaml:1: dataset: unknown key"),
        (["--convert", "broken.yaml", "-o", "new.yaml"], "broken.yaml:1: layers[0][0]: a fuser"),
        (
            ["--convert", "two.yaml", "-o", "nowhere/new.yaml"],
            "nowhere/new.yaml: cannot be written",
        ),
        (["--convert", "two.yaml", "--force", "-o", "."], ".: cannot be written: is a directory"),
    ],
)
def test_a_conversion_that_cannot_be_done_is_refused(
    terminal: Terminal, arguments: list[str], said: str
) -> None:
    terminal.write("two.yaml", TWO)
    terminal.write("job.yaml", "dataset: rows.jsonl\narchitecture: two.yaml\n")
    terminal.write("broken.yaml", "layers: [{type: fuser, model: m}]")

    ended = terminal.run("check", *arguments)

    assert ended.status == 2
    assert said in ended.err
    assert ended.out == ""
    assert not terminal.has("new.yaml")


def test_check_counts_a_search_space(terminal: Terminal) -> None:
    terminal.write(
        "space.yaml",
        "name: small\nroles: {generators: [scripted/plausible, scripted/rough], voter: text}\n"
        "axes: {generators: [1, 2], samples: [1, 2], fusions: 0, evaluation: [none, voter]}\n",
    )

    ended = terminal.run("check", "space.yaml")

    assert ended.status == 0, ended.err
    assert "4 valid architectures of 8 combinations" in ended.out
    assert "3 excluded: candidates that no component uses" in ended.out
