"""Attack programs are contained for every user, and succeed outside the sandbox."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from archon_batch.sandbox import run_attacks
from archon_batch.sandbox.attack_programs import ATTACK_PROGRAMS
from archon_batch.sandbox.forged_verdicts import FORGED_VERDICTS, TEST_TRICKS

ROOT = Path(__file__).parents[2]
#: Attacks that are harmless outside a sandbox.
HARMLESS = (
    "opens a socket",
    "reads /etc/passwd",
    "lists home folders",
    "starts a shell",
    "reads the environment of other processes",
    "lists the processes of other users",
    "creates a process in a user namespace",
    "reads /proc/meminfo",
    "opens a socket pair",
    "allocates shared memory",
    "allocates memory as a file",
    "keeps unmapped shared memory",
    "keeps pages in a pipe",
    "enlarges its pipes",
    "locks a file of the host",
    "watches files of the host",
    "allocates asynchronous I/O",
    "finds a process without limits",
    "survives its parent",
    "reads attributes of an object of the test",
)
ALL = len(ATTACK_PROGRAMS) + len(FORGED_VERDICTS) + len(TEST_TRICKS) + 3


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("sandbox")
def test_every_attack_program_is_contained(monkeypatch):
    monkeypatch.setenv("CANARY_API_KEY", "sk-canary")

    found = list(run_attacks())

    assert [attack for attack in found if not attack.contained] == []
    assert len(found) == ALL > 60


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("sandbox")
def test_every_attack_program_is_contained_for_another_user():
    setpriv, python = shutil.which("setpriv"), Path("/usr/bin/python3")
    if os.geteuid() != 0 or setpriv is None or not python.is_file():
        pytest.skip("only root can be someone else, with setpriv and the system's Python")
    program = (
        "import json, os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from archon_batch.sandbox import run_attacks\n"
        "print(json.dumps([os.getuid(), list(run_attacks())]))"
    )
    # Another user may lack access to this checkout and to a test's own folder.
    package = Path(tempfile.mkdtemp()) / "archon_batch"
    package.parent.chmod(0o755)
    shutil.copytree(ROOT / "archon_batch" / "sandbox", package / "sandbox")
    for name in ("__init__.py", "errors.py", "rate_limits.py"):
        shutil.copy(ROOT / "archon_batch" / name, package)
    someone = [setpriv, "--reuid=30001", "--regid=30001", "--clear-groups"]

    process = subprocess.run(
        [*someone, python, "-Bc", program, package.parent],
        cwd="/",
        capture_output=True,
        check=False,
        env={},
    )

    shutil.rmtree(package.parent)

    if b"SettingsError" in process.stderr:
        pytest.skip("nobody else may make boxes here")
    user, found = json.loads(process.stdout)
    assert user == 30001
    assert [name for name, held, _ in found if not held] == []
    assert len(found) == ALL


@pytest.mark.parametrize("name", HARMLESS)
def test_an_attack_succeeds_outside_the_sandbox(name):
    program = ATTACK_PROGRAMS[name]
    ask = "use(lambda: 1)" if "def use" in program else "attack()"

    process = subprocess.run(
        [sys.executable, "-c", f"{program}\nprint({ask})"],
        capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip

    assert process.stdout == "through\n", process.stderr


@pytest.mark.parametrize(
    "name", ["equals everything", "overrides only equality", "exits with status 0"]
)
def test_a_forged_verdict_passes_in_the_process_of_the_program(name):
    program = f"{FORGED_VERDICTS[name]}\nassert add(2, 3) == 5"

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("name", TEST_TRICKS)
def test_a_trick_passes_in_the_process_of_the_program(name):
    program, test = TEST_TRICKS[name]

    process = subprocess.run([sys.executable, "-c", f"{program}\n{test}"], check=False, timeout=60)

    assert process.returncode == 0
