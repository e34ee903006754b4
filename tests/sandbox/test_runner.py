"""The runner: which programs pass and fail, and their isolation from each other."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from archon_batch.errors import SettingsError
from archon_batch.sandbox import Sandbox, SandboxTest, bubblewrap

ADD = "def add(a, b):\n    return a + b\n"


def verdicts(sandbox, program, *tests, **knobs):
    return [
        o.verdict for o in sandbox.run_tests([program], [SandboxTest(t, **knobs) for t in tests])
    ]


def test_each_test_has_its_own_result(sandbox):
    outcomes = list(
        sandbox.run_tests(
            [ADD],
            [
                SandboxTest(t)
                for t in ("assert add(1, 2) == 3", "assert add(1, 2) == 4", "assert (")
            ],
        )
    )

    assert [o.verdict for o in outcomes] == ["passed", "failed", "broken"]
    assert outcomes[1].why == "AssertionError"
    assert outcomes[2].why.startswith("SyntaxError")


def test_values_are_copied_without_change(sandbox):
    same = "def same(x):\n    return x\n"
    values = (
        "[1, 2.5, 'a', None, True]",
        "{(1, 2): {3}, 'k': frozenset({4})}",
        "float('inf')",
        "-0.1",
        "2 ** 5000",
        "complex(1, -2)",
        "b'\\x00\\xff'",
        "'\\ud800 \\u2028'",
        "int",
    )

    tests = [f"assert same({value}) == {value}\n" for value in values]
    types = ["assert type(same((1,))) is tuple", "assert same(True) is True"]

    assert set(verdicts(sandbox, same, *tests, *types)) == {"passed"}


def test_objects_stay_remote_and_can_be_used(sandbox):
    program = (
        "class Node:\n    def __init__(self, value):\n        self.value = value\n"
        "def twice(node):\n    return node.value * 2\n"
        "def count():\n    yield from range(3)\n"
        "def apply(what, to):\n    return what(to)\n"
        "def fail():\n    raise KeyError('k')\n"
    )

    found = verdicts(
        sandbox,
        program,
        "n = Node(4)\nn.value += 1\nassert twice(n) == 10 and n.value == 5",
        "assert list(count()) == [0, 1, 2]",
        "assert apply(lambda x: x + 1, 2) == 3",
        "try:\n    fail()\nexcept KeyError:\n    pass\nelse:\n    raise AssertionError",
        "assert Node(1) == Node(1)",
    )

    assert found == ["passed"] * 4 + ["failed"]


def test_an_exception_keeps_its_class_for_a_test_that_names_it_or_a_base(sandbox):
    fails = "def fail():\n    raise KeyError('k')\n"
    catch = "try:\n    fail()\nexcept {} as error:\n    assert {}\nelse:\n    assert False"

    found = verdicts(
        sandbox,
        fails,
        catch.format("LookupError", "type(error) is KeyError"),
        catch.format("Exception", "str(error) == repr('k')"),
        catch.format("(ValueError, TypeError)", "True"),
    )

    assert found == ["passed", "passed", "failed"]


@pytest.mark.parametrize("handed", ["type", "object", "super", "int", "len", "eval"])
def test_a_program_passes_a_builtin_only_if_the_test_names_it(sandbox, handed):
    gives = f"def give():\n    return {handed}\n"

    named, unnamed = verdicts(sandbox, gives, f"assert give() is {handed}", "assert give() != 1")

    assert named == ("passed" if handed == "int" else "failed")
    # Any other object is remote and equals nothing.
    assert unnamed == ("passed" if handed in ("len", "eval") else "failed")


def test_objects_of_a_test_are_unreachable_in_the_next_test(sandbox):
    keeps = (
        "kept = []\ndef use(given):\n    kept.append(given)\n    return [one(1) for one in kept]\n"
    )

    found = verdicts(
        sandbox, keeps, "assert use(lambda x: x + 1) == [2]", "assert use(lambda x: x) == [2, 1]"
    )

    assert found == ["passed", "failed"]


def test_the_setup_runs_before_each_test_and_may_use_the_program(sandbox):
    found = verdicts(
        sandbox, ADD, "x.append(add(1, 1))\nassert x == [2]", "assert x == []", setup="x = []"
    )

    assert found == ["passed", "passed"]


def test_the_first_valid_source_is_the_program(sandbox):
    outcomes = sandbox.run_tests(["def add(:", ADD], [SandboxTest("assert add(1, 2) == 3")])

    assert [o.verdict for o in outcomes] == ["passed"]


def test_a_program_that_cannot_be_loaded_passes_no_test(sandbox):
    outcomes = list(
        sandbox.run_tests(["1 / 0"], [SandboxTest("assert True"), SandboxTest("assert True")])
    )

    assert [o.verdict for o in outcomes] == ["failed", "failed"]
    assert outcomes[0].why == "ZeroDivisionError: division by zero"


def test_a_program_that_exits_fails_one_test_and_is_restarted(sandbox):
    program = "import os\ndef f(x):\n    return os._exit(0) if x else 0\n"

    assert verdicts(sandbox, program, "f(0)", "f(1)", "f(0)") == ["passed", "failed", "passed"]


def test_a_program_that_hangs_fails_all_tests_after_its_first_timeout():
    program = "def f(x):\n    while x:\n        pass\n"
    begun = time.monotonic()

    patient = list(
        Sandbox(seconds=1).run_tests([program], [SandboxTest(f"f({n})") for n in (0, *[1] * 9)])
    )
    hasty = list(Sandbox(total_seconds=0).run_tests([program], [SandboxTest("f(0)")]))

    assert [o.verdict for o in patient] == ["passed"] + ["failed"] * 9
    assert {o.why for o in patient[1:]} == {"timed out"}
    # Less than nine tests of a second each, plus the start of the processes.
    assert time.monotonic() - begun < 8
    assert [(o.verdict, o.why) for o in hasty] == [("failed", "timed out")]


def test_a_sandbox_has_what_honest_programs_need(sandbox):
    files = (
        "import sqlite3, tempfile\ndef kept(text):\n"
        "    with tempfile.NamedTemporaryFile('w+') as file:\n"
        "        file.write(text)\n        file.seek(0)\n        text = file.read()\n"
        "    with sqlite3.connect('/tmp/x.db') as base:\n"
        "        base.execute('CREATE TABLE t (v)')\n"
        "        base.execute('INSERT INTO t VALUES (?)', (text,))\n"
        "        return base.execute('SELECT v FROM t').fetchone()[0]\n"
    )
    waits = (
        "import asyncio\nasync def one(x):\n    await asyncio.sleep(0.01)\n"
        "    return await asyncio.to_thread(lambda: x)\n"
        "async def both(x):\n    return await asyncio.gather(one(x), one(x))\n"
        "def wait(x):\n    return asyncio.run(both(x))\n"
    )
    starts = (
        "import subprocess, sys\ndef start():\n"
        "    return subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True).stdout\n"
    )

    assert verdicts(sandbox, files, "assert kept('a') == 'a'") == ["passed"]
    assert verdicts(sandbox, waits, "assert wait(3) == [3, 3]") == ["passed"]
    assert verdicts(sandbox, starts, "assert start() == b'1\\n'") == ["passed"]
    reads = "print(open('/dev/stdin').read() * 2)"
    assert sandbox.check_output([reads], "a ", "a a").verdict == "passed"


def test_without_a_mounted_tmp_a_sandbox_has_no_writable_folder(monkeypatch):
    read = bubblewrap._source
    monkeypatch.setattr(
        bubblewrap,
        "_source",
        lambda name: "raise SystemExit(1)" if name == "launch.py" else read(name),
    )
    bubblewrap.detect_bubblewrap.cache_clear()
    writes = (
        "import os\ndef write():\n    open('/tmp/x', 'w')\ndef here():\n    return os.getcwd()\n"
    )

    try:
        found = list(
            Sandbox().run_tests(
                [writes], [SandboxTest("assert here() == '/tmp'"), SandboxTest("write()")]
            )
        )
    except SettingsError:
        pytest.skip("no sandbox here")
    finally:
        bubblewrap.detect_bubblewrap.cache_clear()

    assert [o.verdict for o in found] == ["passed", "failed"]
    assert found[1].why.startswith("OSError: [Errno 30]")


def test_every_process_of_a_sandbox_has_limits(sandbox):
    program = (
        "import resource, os\nNAMES = [n for n in dir(resource) if n.startswith('RLIMIT_')]\n"
        "def limits():\n    return {n: resource.getrlimit(getattr(resource, n))[1] for n in NAMES}\n"
        "def first():\n    return os.getpid()\n"
    )
    wanted = {"AS": 512 << 20, "NPROC": 8, "NOFILE": 64, "MEMLOCK": 0, "MSGQUEUE": 0}
    checks = [f"assert limits()['RLIMIT_{n}'] <= {most}" for n, most in wanted.items()]

    # The first process of the sandbox set the limits before anything else ran.
    assert set(verdicts(sandbox, program, "assert first() == 1", *checks)) == {"passed"}


def test_a_program_cannot_replace_builtins_to_pass_a_test(sandbox):
    liar = (
        "def f(x):\n    return 9\nabs = lambda x: 0\nclass math:\n    isclose = lambda a, b: True\n"
    )
    honest = "def sum(a, b):\n    return a + b\n"

    lied = verdicts(sandbox, liar, "assert abs(f(1) - 1) < 0.1", "assert math.isclose(f(1), 1)")

    assert lied == ["failed", "failed"]
    # Defining two of them does not help either.
    both = "def sum(values):\n    return 4\nabs = lambda x: 0\n"
    assert verdicts(sandbox, both, "assert abs(sum([2, 3]) - 5) < 0.1") == ["failed"]
    # Some published tests call a function with the name of a builtin.
    assert verdicts(sandbox, honest, "assert sum(10, 15) == 25") == ["passed"]


@pytest.mark.parametrize("line", ["rubbish", "[1]", "[" * 3000, '["won", ""]'])
def test_a_test_that_writes_into_its_report_affects_only_itself(sandbox, line):
    writes = (
        "import os\nfor n in range(3, 64):\n    try:\n"
        f"        os.write(n, b'{line}\\n')\n    except OSError:\n        pass"
    )

    assert "failed" in verdicts(sandbox, ADD, writes, "assert add(1, 2) == 3")


def test_a_script_is_graded_by_its_output(sandbox):
    double = "print(int(input()) * 2)"

    assert sandbox.check_output([double], "21\n", " 42").verdict == "passed"
    assert sandbox.check_output([double], "21\n", "43").verdict == "failed"
    assert sandbox.check_output(["print(42); raise SystemExit(1)"], "", "42").verdict == "passed"
    assert sandbox.check_output(["raise SystemExit(0)"], "", "42").verdict == "failed"


def test_several_threads_can_run_programs_at_once(sandbox):
    found = {}

    def tried(n):
        found[n] = verdicts(sandbox, f"def f():\n    return {n}\n", f"assert f() == {n}")

    threads = [threading.Thread(target=tried, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {n: ["passed"] for n in range(4)}


def test_no_file_stays_open(sandbox):
    verdicts(sandbox, ADD, "assert add(1, 2) == 3")
    before = len(list(Path("/proc/self/fd").iterdir()))

    verdicts(sandbox, ADD, "assert add(1, 2) == 3")
    next(sandbox.run_tests([ADD], [SandboxTest("add(1, 1)"), SandboxTest("add(1, 1)")]))

    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("lacking", "why"),
    [
        ({"which": None}, "no bwrap; install bubblewrap"),
        ({"which": shutil.which("false")}, "no sandbox can be started"),
        ({"machine": "vax"}, "this processor type"),
    ],
)
def test_without_a_working_sandbox_the_error_says_what_would_help(monkeypatch, lacking, why):
    if "which" in lacking:
        monkeypatch.setattr("shutil.which", lambda _name: lacking["which"])
    else:
        monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/bwrap")
        monkeypatch.setattr("platform.machine", lambda: lacking["machine"])
    bubblewrap.detect_bubblewrap.cache_clear()

    try:
        with pytest.raises(SettingsError, match=why):
            Sandbox()
    finally:
        bubblewrap.detect_bubblewrap.cache_clear()
