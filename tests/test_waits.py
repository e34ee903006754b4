"""Every wait in the program has an upper bound in its own line, or a reason here why it ends."""

import ast
from collections.abc import Iterator
from pathlib import Path

import archon_batch

ROOT = Path(archon_batch.__file__).parent
#: Methods that wait, except ``str.join`` and a ``poll`` without a timeout.
_WAITING = {"sleep", "wait", "wait_for", "timeout", "join", "poll", "result", "communicate"}

#: Waits without a bound in their line, and what ends them.
REASONS = {
    ("calls/executor.py", "asyncio.timeout(self._timeout + _GRACE / 2)"): "the setting has a range",
    ("providers/openai_compatible.py", "asyncio.timeout(self._timeout)"): "the setting has a range",
    ("providers/litellm_provider.py", "asyncio.timeout(self._timeout)"): "the setting has a range",
    ("providers/local_model.py", "asyncio.timeout(self._timeout)"): "the setting has a range",
    ("calls/executor.py", "self.stopping.wait()"): "inside a time-out",
    ("calls/model_limiter.py", "self._changed.wait()"): "inside a time-out",
    ("calls/model_limiter.py", "waiter.future.result()"): "it is done, and cannot wait",
    (
        "engine/runtime.py",
        "self.submit(coroutine).result()",
    ): "ends with its calls, each of which has an end",
    (
        "engine/runtime.py",
        "self._thread.join()",
    ): "the loop was told to stop, and does nothing else",
    (
        "engine/in_process.py",
        "thread.join()",
    ): "ends with the calls in flight; Ctrl-C again ends it",
    (
        "engine/child_processes.py",
        "thread.join()",
    ): "ends with a child process, which ends with its calls in flight",
    (
        "engine/child_processes.py",
        "child.wait()",
    ): "in a thread of its own, for as long as the child lives",
    (
        "application/run.py",
        "store_lost.wait(seconds)",
    ): "a quarter of a second between two looks at the progress",
    ("engine/worker_pool.py", "time.sleep(settings.timing.worker_restart)"): "two seconds",
    (
        "engine/worker_heartbeat.py",
        "self._stopping.wait(settings.timing.worker_heartbeat)",
    ): "eight seconds",
    ("engine/runtime.py", "asyncio.sleep(interval)"): "the watchdog's interval, five seconds",
    (
        "engine/scheduled_runs.py",
        "process.wait()",
    ): "ends with the calls in flight; Ctrl-C again kills them",
    (
        "engine/worker_pool.py",
        "worker.wait()",
    ): "ends with the calls in flight; Ctrl-C again kills them",
    ("sandbox/runner.py", "self._poll.poll(seconds * 1000)"): "what is left of the trial's seconds",
    ("evaluation/metrics/maths.py", "process.communicate()"): "the process was killed before",
    (
        "store/attempt_writer.py",
        "self._thread.join()",
    ): "ends with a commit, which waits for a minute at most",
}


def _is_bound(value: ast.expr) -> bool:
    """A number, a constant, or the minimum of several values with one of these."""
    match value:
        case ast.Constant(value=int() | float()):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
        case ast.BinOp(left=left, right=right):
            return _is_bound(left) and _is_bound(right)
        case ast.Call(func=ast.Name(id="min"), args=args):
            return any(map(_is_bound, args))
        case ast.Call(func=ast.Name(id="max"), args=args):
            return all(map(_is_bound, args))
    return False


def _waits(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="select", value=ast.Name(id="select"))):
                yield node
            case ast.Call(func=ast.Attribute(attr="join", value=value), args=args) if args:
                if not isinstance(value, ast.Constant) and _is_bound(args[0]):
                    yield node
            case ast.Call(func=ast.Attribute(attr="poll"), args=[]):
                pass
            case ast.Call(func=ast.Attribute(attr=name)) if name in _WAITING:
                yield node


def unbounded() -> set[tuple[str, str]]:
    """Every wait of the program without a bound in its line, by file and source."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for call in _waits(ast.parse(path.read_text(encoding="utf-8"))):
            given = [*call.args, *(word.value for word in call.keywords)]
            if not any(map(_is_bound, given[-1:])):
                found.add((str(path.relative_to(ROOT)), ast.unparse(call)))
    return found


def test_every_wait_has_an_upper_bound_or_a_reason():
    assert unbounded() == set(REASONS)
