"""The house keeps its own rules."""

import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from archon_batch.archon import SANDBOX_MODEL, Answer, Model, count_calls, rule_warnings, run_item
from archon_batch.cli import archon_batch
from archon_batch.config import file_kind, read_architecture_file, read_job_file, read_pool_file
from archon_batch.dataset import Dataset
from archon_batch.engine import queues
from archon_batch.jobs.submit import max_tokens_warnings, model_prices, with_context_windows
from archon_batch.providers import scripted
from tests.builders import a_question

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "jobs" / "architectures"


def _python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _files(pattern: str) -> list[Any]:
    return [pytest.param(p, id=p.name) for p in sorted(ROOT.glob(pattern))]


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.mark.slow
def test_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = ("litellm", "celery", "sqlmodel", "sqlalchemy", "rich", "httpx")

    loaded = _python(
        "import sys\n"
        "from archon_batch.cli import archon_batch\n"
        "archon_batch.main(['--help'], standalone_mode=False)\n"
        f"print('HEAVY', [m for m in {heavy!r} if m in sys.modules])"
    )

    assert loaded.splitlines()[-1] == "HEAVY []"


@pytest.mark.slow
def test_a_plan_needs_neither_litellm_nor_celery() -> None:
    loaded = _python(
        "import sys\n"
        "import archon_batch.cli.plan, archon_batch.jobs.submit\n"
        "archon_batch.jobs.submit.price_of\n"
        "print([m for m in ('litellm', 'celery') if m in sys.modules])"
    )

    assert loaded.strip() == "[]"


@pytest.mark.parametrize("path", _files("jobs/architectures/*"))
def test_every_architecture_loads_is_priced_and_breaks_no_rule_of_the_paper(path: Path) -> None:
    architecture = read_architecture_file(str(path))

    assert None not in model_prices(architecture, allow_unpriced=False).values()
    assert list(rule_warnings(architecture)) == []


@pytest.mark.parametrize("path", _files("jobs/architectures/*"))
def test_every_architecture_fits_its_models(path: Path) -> None:
    architecture = read_architecture_file(str(path))

    # A sandbox reads programs of any length.
    assert set(with_context_windows(architecture).context_windows) == set(
        architecture.model_names
    ) - {SANDBOX_MODEL}
    assert list(max_tokens_warnings(architecture)) == []


@pytest.mark.parametrize("path", _files("jobs/architectures/*"))
def test_every_architecture_says_its_calls_a_row(path: Path) -> None:
    said = re.findall(r"([\d,]+(?:-[\d,]+)?) calls? per\s+(?:# )?row", path.read_text())

    assert said == [str(count_calls(read_architecture_file(str(path))))]


@pytest.mark.parametrize("path", _files("jobs/architectures/*"))
def test_every_architecture_answers_with_as_many_calls_as_it_says(path: Path) -> None:
    architecture = read_architecture_file(str(path))
    plausible = dict.fromkeys(architecture.model_names, Model(model="scripted/plausible"))

    end, replies = run_item(
        replace(architecture, models=plausible), a_question(), scripted.final_reply
    )

    said = count_calls(architecture)
    assert isinstance(end, Answer)
    assert said.low <= len(replies) <= said.high


def test_the_docs_list_every_architecture_with_its_calls_a_row() -> None:
    text = (ROOT / "docs" / "architectures.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,-]+) \|", text, re.MULTILINE)

    there = {
        path.stem: str(count_calls(read_architecture_file(str(path)))) for path in FOLDER.iterdir()
    }
    assert dict(rows) == there


def test_the_readme_s_architecture_is_one(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "readme.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")

    architecture = read_architecture_file(str(path))

    assert architecture.name == "best-of-five"
    assert None not in model_prices(architecture, allow_unpriced=False).values()


@pytest.mark.parametrize("path", _files("jobs/*.yaml"))
def test_every_job_file_names_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import date  # noqa: PLC0415

    monkeypatch.chdir(ROOT)
    job = read_job_file(path, date(2026, 1, 31))

    assert file_kind(path) == "job"
    read_architecture_file(job.architecture)
    with Dataset.open(job.dataset) as dataset:
        assert list(dataset._sources)


@pytest.mark.parametrize("path", _files("jobs/samples/*.jsonl"))
def test_every_sample_dataset_is_one(path: Path) -> None:
    from archon_batch.dataset import ReadOptions  # noqa: PLC0415

    template = "{text}" if path.stem == "labels" else None
    with Dataset.open(path, ReadOptions(template=template)) as dataset:
        assert dataset.check() >= 12


def test_every_queue_is_drained_by_some_pool() -> None:
    pools = [read_pool_file(path) for path in sorted((ROOT / "workers").glob("*.yaml"))]

    drained = {queue for pool in pools for queue in pool.queues}

    assert drained == set(queues.ALL)


def test_compose_starts_pools_and_commands_that_exist() -> None:
    commands = archon_batch.list_commands(None)  # type: ignore[arg-type]

    for name, service in _compose()["services"].items():
        if service.get("image") != "archon-batch" or "entrypoint" in service or name == "cli":
            continue
        command, *arguments = service["command"]
        assert command in commands, name
        if command == "worker":
            read_pool_file(ROOT / arguments[0])


def test_compose_publishes_nothing_but_flower_on_loopback() -> None:
    services = _compose()["services"]

    published = {name: s["ports"] for name, s in services.items() if "ports" in s}

    assert published == {"flower": ["127.0.0.1:5555:5555"]}


def test_compose_runs_the_program_without_rights() -> None:
    for name, service in _compose()["services"].items():
        if service.get("image") == "archon-batch":
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["user"].partition(":")[0] != "0", name


def test_compose_has_no_password_of_its_own() -> None:
    text = (ROOT / "docker-compose.yml").read_text()

    for variable in ("REDIS_PASSWORD", "POSTGRES_PASSWORD", "FLOWER_BASIC_AUTH"):
        assert f"${{{variable}:?" in text
        assert f"{variable}=" in (ROOT / ".env.example").read_text()


@pytest.mark.slow
def test_the_wheel_has_one_name_at_its_top(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"archon_batch"}
    assert "archon_batch/py.typed" in names
    assert "archon_batch/store/migrations/versions/m0013_names.py" in names


def test_every_command_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()

    for command in archon_batch.list_commands(None):  # type: ignore[arg-type]
        assert f"archon-batch {command}" in text


def test_the_lock_has_hashes_and_no_address_and_no_release_that_was_compromised() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock, re.MULTILINE))

    assert lock.count("--hash=sha256:") > len(locked)
    assert "://" not in lock
    assert locked["litellm"] not in ("1.82.7", "1.82.8", "1.107.0")
    assert not {"llama-cpp-python", "llm"} & set(locked)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for dependency in project["dependencies"]:
        name = re.match(r"[A-Za-z0-9._-]+", dependency)
        assert name is not None
        assert name[0].lower() in locked


def test_modules_stay_small_and_have_nouns_for_names() -> None:
    forbidden = {"utils", "helpers", "common", "base", "misc", "manager", "service"}

    for path in (ROOT / "archon_batch").rglob("*.py"):
        assert path.stem not in forbidden
        assert len(path.read_text().splitlines()) <= 500, path


def test_no_file_names_this_workplace_or_a_registry() -> None:
    # Put together here, so that this file does not hold them.
    words = ("pypi" + ".org", "pythonhosted" + ".org", "/work/" + "main", "farm" + "-bench")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")

    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        assert not [word for word in words if word in text], name
