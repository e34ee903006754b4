"""A component of one's own, from a package in a folder to the account of a job."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archon_batch.archon import (
    COMPONENT_TYPES,
    Answer,
    Architecture,
    Call,
    Candidate,
    Component,
    Context,
    CountRange,
    Reply,
    State,
    count_calls,
    read_architecture,
    run_item,
    validate_architecture,
)
from archon_batch.errors import ArchitectureError
from archon_batch.jobs.forecast import DatasetSize, forecast, total_forecast
from tests.acceptance.stage import Stage
from tests.builders import MODEL, ComponentRun, a_context, a_question, candidates, run_with_texts

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "archon-batch-reviser"
DOCS = ROOT / "docs" / "components.md"
MODULE = "archon_batch_reviser/__init__.py"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, so that nothing is left in the project's folder."""
    return shutil.copytree(
        EXAMPLE,
        tmp_path_factory.mktemp("source") / EXAMPLE.name,
        ignore=shutil.ignore_patterns("__pycache__"),
    )


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed into, with nothing but what is here."""
    target = tmp_path_factory.mktemp("installed")
    pip = ["pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    command: list[str | Path] = [sys.executable, "-m", *pip, *options, "--target", target, source]
    subprocess.run(command, check=True)
    return target


@pytest.fixture
def stage(tmp_path: Path, installed: Path) -> Stage:
    return _a_stage(tmp_path, PYTHONPATH=str(installed))


def _a_stage(folder: Path, **environment: str) -> Stage:
    stage = Stage(folder, **environment)
    shutil.copy(EXAMPLE / "refine.yaml", folder)
    stage.dataset(2)
    return stage


def _of(calls_made: list[dict[str, Any]], component: str) -> list[dict[str, Any]]:
    return [call for call in calls_made if call["component"] == component]


def _error(stage: Stage, *arguments: str) -> str:
    command = stage.start(*arguments)
    _, err = command.communicate(timeout=60)
    assert command.returncode == 2, err
    return " ".join(err.split())


def test_it_is_checked_and_foreseen(stage: Stage) -> None:
    assert "reviser" in stage.run("check", "refine.yaml")

    plan = stage.json("plan", "rows.jsonl", "--arch", "refine.yaml")

    assert [plan[case]["calls"] for case in ("low", "expected", "high")] == [16, 16, 48]
    layer = plan["layers"][2]
    assert layer["components"] == "reviser"
    assert [layer[case]["calls"] for case in ("low", "expected", "high")] == [6, 6, 18]


def test_it_is_rehearsed(stage: Stage) -> None:
    text = (EXAMPLE / "refine.yaml").read_text()
    stage.write("twice.yaml", text.replace("{type: reviser}", "{type: reviser, samples: 2}"))

    shown = stage.json("try", "What is 2 + 2?", "--arch", "twice.yaml")

    revised = _of(shown["calls_made"], "reviser")
    assert [call["call"] for call in revised] == [f"2.0.{slot}.0" for slot in range(6)]
    assert len({call["text"] for call in revised}) == 6
    assert shown["answer"] in {call["text"] for call in revised}
    (ranking,) = _of(shown["calls_made"], "ranker")
    assert sorted(re.findall(r"\[(\d)\]", ranking["text"])) == list("123456")
    assert (shown["calls"], shown["status"], shown["warnings"]) == (11, "answered", [])


def test_it_runs_in_a_job_and_has_its_place_in_the_account(stage: Stage) -> None:
    job = stage.run("submit", "rows.jsonl", "--arch", "refine.yaml", "-o", "out.jsonl").strip()

    assert [line["status"] for line in stage.lines("out.jsonl")] == ["answered", "answered"]
    lines = stage.json("cost", job, "--by", "component")["by"]
    assert [(line["kind"], line["calls"], line["failed_calls"]) for line in lines] == [
        ("generator", 6, 0),
        ("critic", 2, 0),
        ("reviser", 6, 0),
        ("ranker", 2, 0),
    ]


def test_without_the_package_its_type_is_refused(tmp_path: Path) -> None:
    stage = _a_stage(tmp_path)

    for command in (
        ("check", "refine.yaml"),
        ("plan", "rows.jsonl", "--arch", "refine.yaml"),
        ("submit", "rows.jsonl", "--arch", "refine.yaml"),
        ("try", "What is 2 + 2?", "--arch", "refine.yaml"),
    ):
        why = _error(stage, *command)
        assert "refine.yaml:7: layers[2][0].type: no component 'reviser'" in why
        assert ", ".join(COMPONENT_TYPES) in why


def test_a_job_stops_where_the_package_is_missing_and_goes_on_where_it_is(
    stage: Stage, tmp_path: Path
) -> None:
    models = "models: {m: {model: scripted/plausible, price: {input: 1000, output: 1000}}}\n"
    text = (EXAMPLE / "refine.yaml").read_text()
    stage.write("paid.yaml", models + text.replace(MODEL, "m, max_tokens: 64"))
    submit = ("submit", "rows.jsonl", "--arch", "paid.yaml", "--name", "nightly")
    stage.run(*submit, "--budget", "1.2", status=4)
    paid = stage.json("status", "nightly")["usd"]
    bare = Stage(tmp_path)

    bare.run("resume", "nightly", "--budget", "100", status=2)

    stopped = bare.json("status", "nightly")
    assert (stopped["state"], stopped["open"], stopped["usd"]) == ("stopped", 2, paid)
    assert stopped["reason"].startswith(_documented_reason())
    stage.run("resume", "nightly", "--budget", "100")
    assert stage.json("status", "nightly")["answered"] == 2


def _documented_reason() -> str:
    (reason,) = re.findall(r"^    (layers\[2\].*), \.\.\.$", DOCS.read_text(), re.MULTILINE)
    return str(reason)


def test_its_own_tests_pass(source: Path, installed: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_reviser.py"]
    ended = subprocess.run(
        command,
        cwd=source,
        env=Stage(source, PYTHONPATH=str(installed)).environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout
    assert "2 passed" in ended.stdout


# The component by itself


def _reviser(**knobs: Any) -> Component:
    reviser: type[Component] = runpy.run_path(str(EXAMPLE / MODULE))["Reviser"]
    return reviser.model_validate({"type": "reviser", "model": MODEL, **knobs})


def _revised(scene: Context, *replies: str | Reply | None, **knobs: Any) -> ComponentRun:
    return run_with_texts(_reviser(**knobs), scene, *replies)


@pytest.mark.parametrize("samples", [1, 3])
def test_it_makes_the_calls_and_candidates_that_it_promises(samples: int) -> None:
    reviser = _reviser(samples=samples)

    revised = run_with_texts(reviser, a_context("four", "five"), "better")

    made = len(revised.contribution.candidates or ())
    assert reviser.call_count(2) == CountRange(len(revised.rounds[0]), len(revised.rounds[0]))
    assert reviser.output_count(2) == CountRange(made, made)
    assert made == 2 * samples


def test_each_revision_names_its_slot_and_what_it_was_made_from() -> None:
    revised = _revised(a_context("four", "five"), "a", "b", "c", "d", samples=2)

    ((*requests,),) = revised.rounds
    assert [(request.index, request.sample) for request in requests] == [
        (0, 0), (1, 1), (2, 0), (3, 1),
    ]  # fmt: skip
    assert revised.contribution.candidates == (
        Candidate("1.0.0", "a", ("0.0.0",)),
        Candidate("1.0.1", "b", ("0.0.0",)),
        Candidate("1.0.2", "c", ("0.0.1",)),
        Candidate("1.0.3", "d", ("0.0.1",)),
    )


def test_a_blank_revision_is_asked_for_again() -> None:
    revised = _revised(a_context("four"), "", "better")

    assert [request.reask for requests in revised.rounds for request in requests] == [0, 1]
    assert [c.text for c in revised.contribution.candidates or ()] == ["better"]


@pytest.mark.parametrize(("use", "shown"), [(None, True), (True, True), (False, False)])
def test_a_critique_is_shown_with_its_candidate(use: bool | None, shown: bool) -> None:
    criticised = (Candidate("0.0.0", "four", critique="too brief"),)

    revised = _revised(Context(a_question(), State(criticised), "1.0"), "better", use_critiques=use)

    assert ("too brief" in revised.rounds[0][0].messages[-1].content) is shown


def test_a_candidate_that_does_not_fit_the_window_goes_on_as_it_is() -> None:
    long, short = candidates("four " * 500, "five")
    scene = Context(a_question(), State((long, short)), "1.0", max_prompt_tokens=600)

    revised = _revised(scene, "better")

    assert revised.contribution.candidates == (long, Candidate("1.0.1", "better", ("0.0.1",)))
    assert [remark.kind for remark in revised.warnings] == ["context_overflow", "skipped"]


# The page about it


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["pyproject.toml", "refine.yaml", MODULE, "test_reviser.py"])
def test_the_page_shows_the_example_as_it_is(name: str) -> None:
    language = {".toml": "toml", ".yaml": "yaml", ".py": "python"}[Path(name).suffix]

    assert (EXAMPLE / name).read_text() in _blocks(language)


@pytest.fixture
def trimming(tmp_path: Path) -> Architecture:
    """The page's other components, in an architecture."""
    (code,) = (block for block in _blocks("python") if "class Grader" in block)
    module = tmp_path / "trimming.py"
    module.write_text(code)
    found = runpy.run_path(str(module))
    data = {
        "defaults": {"model": MODEL},
        "layers": [
            {"type": "generator", "samples": 4},
            {"type": "grader"},
            {"type": "trimmer"},
            {"type": "fuser"},
        ],
    }
    kinds = {**COMPONENT_TYPES, "grader": found["Grader"], "trimmer": found["Trimmer"]}
    return read_architecture(data, kinds, "trimming")


@pytest.mark.parametrize(("grade", "left", "notes"), [("2", 2, 0), ("5", 4, 0), ("hard", 4, 4)])
def test_the_page_s_value_reaches_the_component_that_needs_it(
    trimming: Architecture, grade: str, left: int, notes: int
) -> None:
    fused: list[Call] = []

    def answer(call: Call) -> Reply:
        fused.extend([call] if call.component_type == "fuser" else [])
        return Reply(grade if call.component_type == "grader" else call.component_type)

    end, _ = run_item(trimming, a_question(), answer)

    assert isinstance(end, Answer)
    assert len(end.warnings) == notes
    assert f"response {left} of {left}" in fused[0].messages[-1].content


def test_the_page_s_components_are_foreseen(trimming: Architecture) -> None:
    foreseen = total_forecast(forecast(trimming, {MODEL: None}, DatasetSize(1, 100)))

    assert count_calls(trimming) == CountRange(6, 6)
    cases = (foreseen.low, foreseen.expected, foreseen.high)
    assert [case.calls for case in cases] == [6, 6, 18]


def test_the_page_s_component_is_refused_without_the_value_that_it_needs(
    trimming: Architecture,
) -> None:
    validate_architecture(trimming)
    generator, _, *after = trimming.layers

    with pytest.raises(ArchitectureError, match="a trimmer needs grade, and no layer before it"):
        validate_architecture(Architecture("bare", {}, (generator, *after)))
