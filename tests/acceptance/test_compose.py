"""docker-compose.yml without Docker: its commands, environments and health checks, run unchanged."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from archon_batch.settings import Settings
from tests.acceptance.stage import LAYERS, PRICES, until
from tests.acceptance.test_flower import free_port
from tests.provider import ProviderServer

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "workers" / "Dockerfile").read_text(encoding="utf-8")
SECRETS = {
    "REDIS_PASSWORD": "redis-word",
    "POSTGRES_PASSWORD": "postgres-word",
    "FLOWER_BASIC_AUTH": "operator:secret",
    "ARCHON_BATCH_KEY_127_0_0_1": "sk-of-the-provider",
}
BROKER = "redis://:redis-word@redis:6379/0"
DATABASE = "postgresql+psycopg://archon:postgres-word@postgres:5432/archon"


class Compose:
    """The program's services, in folders that stand for those of the image."""

    def __init__(self, folder: Path, broker: str, database: str) -> None:
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: SECRETS[m[1]], _text())
        self.services: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))["services"]
        self._folder = folder
        self._outside = {BROKER: broker, DATABASE: database, "0.0.0.0": "127.0.0.1"}
        self.port = free_port()
        for name in ("app", "data", "spool"):
            (folder / name).mkdir()
        (folder / "app" / "workers").symlink_to(ROOT / "workers")
        for name in ("app", "data"):
            (folder / name / "jobs").symlink_to(ROOT / "jobs")

    def start(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        service = self.services[name]
        (entry,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
        program, *first = service.get("entrypoint") or json.loads(entry)
        command = [str(BIN / program), *first, *service.get("command", ()), *arguments]
        with (self._folder / f"{name}.log").open("a") as log:
            return subprocess.Popen(
                command, cwd=self._cwd(name), env=self._environment(name), text=True,
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip

    def run(self, name: str, *arguments: str) -> str:
        process = self.start(name, *arguments)
        out, _ = process.communicate(timeout=200)
        assert process.returncode == 0, self.log(name)
        return out

    def is_healthy(self, name: str) -> bool:
        kind, *test = self.services[name]["healthcheck"]["test"]
        test = [word.replace("5555", str(self.port)) for word in test]
        command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        check = subprocess.run(
            command, cwd=self._cwd(name), env=self._environment(name), capture_output=True,
            check=False,
        )  # fmt: skip
        return check.returncode == 0

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    @contextmanager
    def up(self, names: Sequence[str]) -> Iterator[dict[str, int]]:
        """The services, until they are told to stop; then how each has ended."""
        started = {name: self.start(name) for name in names}
        ended: dict[str, int] = {}
        try:
            yield ended
        finally:
            for process in started.values():
                process.send_signal(signal.SIGTERM)
            for name, process in started.items():
                process.communicate(timeout=60)
                ended[name] = process.returncode

    def _cwd(self, name: str) -> Path:
        inside: str = self.services[name].get("working_dir", "/app")
        return self._folder / inside.lstrip("/")

    def _environment(self, name: str) -> dict[str, str]:
        service = self.services[name]
        given = dict(SECRETS) if service.get("env_file") == [".env"] else {}
        given |= {k: self._outside.get(v, v) for k, v in service["environment"].items()}
        given["ARCHON_BATCH_SPOOL"] = str(self._folder / "spool")
        path = f"{BIN}:{os.environ['PATH']}"
        port = {"FLOWER_PORT": str(self.port)} if name == "flower" else {}
        return {"PATH": path, "HOME": str(self._folder), **given, **port}


def _text() -> str:
    return (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(400)
def test_the_services_of_compose_finish_a_job(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    compose = Compose(tmp_path, redis_url, postgres_url)
    (tmp_path / "data" / "rows.jsonl").write_text(
        "".join(json.dumps({"id": f"q{n}", "prompt": f"What is {n}?"}) + "\n" for n in range(6))
    )
    standing = ("calls", "joins", "scheduler", "flower")

    compose.run("migrate")
    with ProviderServer(prices=PRICES) as provider, compose.up(standing) as ended:
        (tmp_path / "data" / "layered.yaml").write_text(
            LAYERS.format(url=provider.url, input=PRICES[0], output=PRICES[1])
        )
        compose.run("cli", "submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "nightly",
                    "--follow", "-o", "out.jsonl")  # fmt: skip
        account = json.loads(compose.run("cli", "cost", "nightly", "--json"))
        for name in ("calls", "joins", "flower"):
            until(lambda name=name: compose.is_healthy(name), 100)
        until(lambda: "job_file_scheduled" in compose.log("scheduler"), 100)
        doctor = compose.run("cli", "doctor")

    exported = (tmp_path / "data" / "out.jsonl").read_text().splitlines()
    out = [json.loads(line) for line in exported]
    assert [(row["id"], row["status"]) for row in out] == [(f"q{n}", "answered") for n in range(6)]
    assert round(account["usd"] * 10**9) == provider.bill
    assert provider.request_count == 6 * 8
    keys = {headers["Authorization"] for headers, _ in provider.recent_requests}
    assert keys == {"Bearer sk-of-the-provider"}
    assert "FAILED" not in doctor
    assert doctor.count(" consumes calls") == 2
    assert ended == dict.fromkeys(standing, 0)
    for name in standing:
        assert not [word for word in SECRETS.values() if word in compose.log(name)], name


def test_only_services_that_send_calls_get_the_providers_keys() -> None:
    services = yaml.safe_load(_text())["services"]

    assert {name for name, service in services.items() if "env_file" in service} == {"calls", "cli"}


def test_a_calls_pool_gets_time_to_finish_its_slowest_call() -> None:
    stopped = yaml.safe_load(_text())["services"]["calls"]["stop_grace_period"]

    assert stopped == "11m"
    assert int(stopped.removesuffix("m")) * 60 > Settings().call_timeout


def test_every_service_is_restricted_to_its_needs_and_its_image_pinned() -> None:
    compose = yaml.safe_load(_text())

    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"].partition(":")[0] not in ("0", "root"), name
        assert service["image"] == "archon-batch" or re.search(
            r":\d+\.\d+\.?\d*-", service["image"]
        )
        if service["image"] != "archon-batch":
            assert service["networks"] == ["inside"], name
    assert compose["networks"]["inside"] == {"internal": True}
    assert re.match(r"# .*\nFROM python:3\.\d+\.\d+-\S+\n", DOCKERFILE)


def test_the_image_is_built_from_sufficient_files(tmp_path: Path) -> None:
    image = tmp_path / "image"
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    context = {line[1:] for line in lines if line.startswith("!")}
    image.mkdir()
    for copied in re.findall(r"^COPY (.+) \./.*$", DOCKERFILE, re.MULTILINE):
        for name in copied.split():
            assert name in context
            there = ROOT / name
            if there.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(there, image / name, ignore=ignored)
            else:
                shutil.copy(there, image / name)
    (install,) = re.findall(r"^RUN pip install (.+ \.) &&", DOCKERFILE, re.MULTILINE)
    site = tmp_path / "site"

    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(site)]
    subprocess.run([*pip, *install.split()], cwd=image, check=True)
    shown = subprocess.run(
        [sys.executable, "-c", "import archon_batch.cli as c; print(c.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip

    assert shown.stdout.startswith(str(site))


def test_the_image_installs_what_a_checkout_does() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")

    def flags(text: str, last: str) -> set[str]:
        (line,) = re.findall(rf"pip install (.+) {re.escape(last)}", text)
        return set(line.split()) - {"--quiet", "--disable-pip-version-check", "--no-cache-dir"}

    lock = "-r requirements.lock"
    assert flags(DOCKERFILE, lock) == flags(made, lock) == {"--no-deps", "--require-hashes"}
    assert flags(DOCKERFILE, ". &&") == {"--no-deps", "--no-build-isolation"}
