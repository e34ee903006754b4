"""Wrong input ends with 2 and a message that names the place, before anything is stored."""

import pytest

from tests.cli.terminal import Terminal

GOOD_ROWS = '{"id": "a", "prompt": "Why?"}\n'
GOOD_ARCH = """\
models:
  one: {model: scripted/plausible}
layers:
  - {type: generator, model: one, samples: 2}
  - {type: fuser, model: one}
"""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (None, "rows.jsonl: no such file"),
        ("", "rows.jsonl: no rows"),
        ("prompt\nWhy?\n", "rows.jsonl:1: "),
        ('{"prompt": "Why?"}\n{"question": "How?"}\n', "rows.jsonl:2: prompt: missing"),
        ('{"id": 7, "prompt": "Why?"}\n{"id": "7", "prompt": "How?"}\n', "rows.jsonl:2: id '7'"),
        ('{"prompt": "  "}\n', "rows.jsonl:1: prompt: "),
    ],
)
def test_a_wrong_dataset_is_refused(terminal: Terminal, rows: str | None, said: str) -> None:
    terminal.write("arch.yaml", GOOD_ARCH)
    if rows is not None:
        terminal.write("rows.jsonl", rows)

    ended = terminal.run("submit", "rows.jsonl", "--arch", "arch.yaml")

    assert ended.status == 2
    assert said in ended.err
    assert not terminal.has("archon-batch.db")


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("layers:\n  - {typ: generator}\n", "arch.yaml:2: layers[0][0].type: missing"),
        (
            GOOD_ARCH.replace("samples", "sampels"),
            "arch.yaml:4: layers[0][0].sampels: unknown key; did you mean 'samples'?",
        ),
        (
            GOOD_ARCH.replace("fuser", "fusser"),
            "arch.yaml:5: layers[1][0].type: no component 'fusser'; did you mean 'fuser'?",
        ),
        (
            GOOD_ARCH.replace("scripted/plausible", "openai/gpt-4o-mni"),
            "did you mean openai/gpt-4o-mini",
        ),
        (GOOD_ARCH.replace("scripted/plausible", "nobody/knows"), "no provider is known"),
        (
            GOOD_ARCH.replace(
                "{model: scripted/plausible}", "{model: openai/x, api_base: http://127.0.0.1:1}"
            ),
            "openai/x: no price is known",
        ),
        (
            GOOD_ARCH.replace("scripted/plausible", "anthropic/claude-haiku-4-5"),
            "ANTHROPIC_API_KEY (for anthropic/claude-haiku-4-5)",
        ),
        (
            GOOD_ARCH.replace("scripted/plausible", "scripted/plausible, api_key: sesame"),
            "arch.yaml:2: models.one.api_key: keys do not belong in files",
        ),
        (
            GOOD_ARCH.replace("scripted/plausible", "sk-proj-0123456789abcdefghij"),
            "models.one.model: this looks like a key",
        ),
        (GOOD_ARCH.replace("generator", "fuser"), "arch.yaml:4: layers[0][0]: a fuser needs"),
        (GOOD_ARCH.replace("samples: 2", "samples: 2.5"), "arch.yaml:4: layers[0][0].samples"),
        (
            GOOD_ARCH.replace("{type: fuser, ", "{type: fuser, model_type: OpenAI, "),
            "arch.yaml:5: layers[1][0].model_type: no provider 'OpenAI'; did you mean 'OpenAI_API'?",
        ),
        (
            GOOD_ARCH.replace(
                "{type: fuser, model: one",
                "{type: ranker, model_type: Together_API, model: llm-blender/PairRM",
            ),
            "arch.yaml:5: layers[1][0].model: llm-blender/PairRM takes no messages",
        ),
        (
            GOOD_ARCH.replace("fuser,", "fuser, model_type: Groq_API,") + "custom: true\n",
            "arch.yaml:6: custom: components of one's own are Python code",
        ),
    ],
)
def test_a_wrong_architecture_is_refused(terminal: Terminal, arch: str, said: str) -> None:
    terminal.write("rows.jsonl", GOOD_ROWS)
    terminal.write("arch.yaml", arch)

    ended = terminal.run("submit", "rows.jsonl", "--arch", "arch.yaml")

    assert ended.status == 2, ended.err
    assert said in ended.err
    assert "sesame" not in ended.err
    assert not terminal.has("archon-batch.db")


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "inf", "1e9", "10 EUR", "1,5", ""])
def test_a_budget_is_an_amount_above_zero(terminal: Terminal, amount: str) -> None:
    terminal.write("rows.jsonl", GOOD_ROWS)
    terminal.write("arch.yaml", GOOD_ARCH)

    ended = terminal.run("submit", "rows.jsonl", "--arch", "arch.yaml", "--budget", amount)

    assert ended.status == 2
    assert "--budget" in ended.err
    assert not terminal.has("archon-batch.db")


def test_a_budget_that_pays_for_no_row_is_refused_with_both_figures(terminal: Terminal) -> None:
    terminal.write("rows.jsonl", GOOD_ROWS)
    terminal.write(
        "arch.yaml",
        GOOD_ARCH.replace("plausible}", "plausible, price: {input: 1000, output: 1000}}"),
    )

    ended = terminal.run("submit", "rows.jsonl", "--arch", "arch.yaml", "--budget", "0.000001")

    assert ended.status == 2
    assert "costs at least 0." in ended.err
    assert "0.000001 USD pays for none" in ended.err
    assert not terminal.has("archon-batch.db")


def test_an_export_that_could_not_be_written_is_refused_before_anything_is_paid(
    terminal: Terminal,
) -> None:
    terminal.write("rows.jsonl", GOOD_ROWS)
    terminal.write("arch.yaml", GOOD_ARCH)

    for output in ("rows.jsonl", "nowhere/out.jsonl", "out.docx"):
        ended = terminal.run("submit", "rows.jsonl", "--arch", "arch.yaml", "-o", output)
        assert ended.status == 2, output
        assert output in ended.err
    assert not terminal.has("archon-batch.db")


@pytest.mark.parametrize(
    ("variable", "value", "status"),
    [
        ("ARCHON_BATCH_DATABASE_URL", "postgres://x", 2),
        ("ARCHON_BATCH_DATABASE_URL", "sqlite:///no/such/folder/a.db", 2),
        ("ARCHON_BATCH_DATABASE_URL", "postgresql+psycopg://me:sesame@127.0.0.1:1/x", 3),
        ("ARCHON_BATCH_MAX_IN_FLIGHT", "many", 2),
        ("ARCHON_BATCH_LOG", "loud", 2),
    ],
)
def test_a_wrong_environment_is_named(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, status: int
) -> None:
    monkeypatch.setenv(variable, value)

    ended = terminal.run("jobs")

    assert ended.status == status
    assert variable in ended.err or status == 3
    assert "sesame" not in ended.err
    assert "Traceback" not in ended.err


def test_a_job_that_is_not_there_is_said_to_be_not_there(terminal: Terminal) -> None:
    for command in ("status", "cost", "export", "resume", "retry", "cancel"):
        ended = terminal.run(command, "nothing")
        assert ended.status == 2, command
        assert "no job of that id or name" in ended.err


def test_a_template_file_that_is_not_there_is_named(terminal: Terminal) -> None:
    terminal.write("rows.jsonl", GOOD_ROWS)
    terminal.write("arch.yaml", GOOD_ARCH)

    ended = terminal.run("plan", "rows.jsonl", "--arch", "arch.yaml", "--template", "@gone.txt")

    assert ended.status == 2
    assert "gone.txt" in ended.err
