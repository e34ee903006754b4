"""A process counts as dead only if its own kernel says so; otherwise its lease decides."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from archon_batch.store import Store, current_process_id, process_identity
from archon_batch.store.process_identity import is_dead, is_local
from tests.builders import a_dead_process, a_job

ROOT = Path(__file__).parents[2]
SAYS_ITS_NAME = """
import sys
from archon_batch.store.process_identity import current_process_id, is_dead
print(current_process_id(), *[is_dead(name) for name in sys.argv[1:]], flush=True)
sys.stdin.read()
"""
#: Begins a call, renews its lease once, and waits.
SENDS = """
import sys
from archon_batch.store import Store, current_process_id
from tests.builders import a_start
store = Store.open(sys.argv[1])
own = current_process_id()
store.leases.acquire(own, own, 20)
print(store.attempt_writer.admit(a_start(store.jobs.find("nightly"))).result(30).attempt_number, own, flush=True)
sys.stdin.read()
"""
APART = ["unshare", "-pf", "--mount-proc", "--kill-child"]
#: As another user, who sees no process but its own.
HIDDEN = [
    "unshare", "-m", "sh", "-c",
    'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"',
    "sh",
]  # fmt: skip


@contextmanager
def running(script: str, *arguments: str, within: list[str]) -> Iterator[tuple[str, ...]]:
    """What the script says first; it ends with the body."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root of a Linux makes namespaces")
    line = [*within, sys.executable, "-c", script, *arguments]
    with subprocess.Popen(
        line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        yield tuple(child.stdout.readline().split())
        child.kill()


@pytest.mark.slow
def test_a_process_is_alive_until_it_ends() -> None:
    line = [sys.executable, "-c", SAYS_ITS_NAME]
    with subprocess.Popen(
        line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        alive = is_dead(name)
        child.kill()
        # It has ended, and nobody has asked how: its number is still taken.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        ended = is_dead(name)

    assert (alive, ended, is_dead(name)) == (False, True, True)
    assert not is_dead(current_process_id())
    assert is_dead(a_dead_process())


@pytest.mark.parametrize(
    "name",
    [
        "elsewhere:1:1",
        "else:where:1:1",
        f"{socket.gethostname()}:{os.getpid()}:1",
        f"{socket.gethostname()}:999999999:1",
        f"{socket.gethostname()}:{os.getpid()}:1:0123456789abcdef:00000000",
        f"{socket.gethostname()}:{os.getpid()}:1::00000000",
        "",
    ],
    ids=["elsewhere", "with a colon", "of an earlier version", "gone", "apart", "untold", "nobody"],
)
def test_a_process_of_another_kernel_is_never_known_to_be_dead(name: str) -> None:
    assert not is_local(name)
    assert not is_dead(name)


def test_without_a_kernel_id_no_process_is_known_to_be_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_identity, "_PROC", tmp_path)
    process_identity._kernel_id.cache_clear()
    current_process_id.cache_clear()
    try:
        other = re.sub(r":\d+:", ":999999999:", current_process_id(), count=1)
        assert other.rsplit(":", 2)[1] == ""
        assert not is_dead(other)
    finally:
        monkeypatch.undo()
        process_identity._kernel_id.cache_clear()
        current_process_id.cache_clear()


def test_a_process_id_fits_every_column_and_is_unique(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 64)
    current_process_id.cache_clear()
    first = current_process_id()
    current_process_id.cache_clear()
    second = current_process_id()
    current_process_id.cache_clear()

    assert first != second
    for table, column in {
        "attempts": "owner", "scheduled_runs": "owner", "leases": "holder", "shard_cursors": "carrier",
    }.items():  # fmt: skip
        with store.database.read_transaction() as connection:
            width = sa.inspect(connection).get_columns(table)
        (length,) = [getattr(c["type"], "length", 0) for c in width if c["name"] == column]
        assert len(first) <= length
    assert len(f"leader of {first}") <= 110


@pytest.mark.slow
def test_a_living_process_of_another_namespace_never_counts_as_dead(any_store) -> None:
    job = a_job(any_store)
    url = any_store.database.engine.url.render_as_string(hide_password=False)
    with running(SENDS, url, within=APART) as (n, name):
        # The same host name; and here its number is another process's, or nobody's.
        assert name.split(":")[0] == current_process_id().split(":")[0]
        while_it_lives = [
            any_store.recover(include_expired_leases=lapsed) for lapsed in (False, True)
        ]
    gone = any_store.recover()
    with any_store.database.write_transaction() as connection:
        connection.execute(sa.text("UPDATE leases SET expires_at = expires_at - 30"))
    lapsed = any_store.recover(include_expired_leases=True)

    assert n == "1"
    assert (while_it_lives, gone, lapsed) == ([0, 0], 0, 1)
    assert any_store.jobs.get(job.id).in_doubt == 100


@pytest.mark.slow
def test_a_process_in_a_namespace_considers_no_outside_process_dead() -> None:
    with running(SAYS_ITS_NAME, current_process_id(), within=APART) as (name, dead):
        assert dead == "False"
        assert not is_dead(name)


@pytest.mark.slow
def test_the_proc_of_another_namespace_does_not_mislead() -> None:
    # Its own numbers are other processes' there.
    with running(
        SAYS_ITS_NAME, current_process_id(), within=["unshare", "-pf", "--kill-child"]
    ) as (name, dead):
        assert dead == "False"
        assert not is_dead(name)


@pytest.mark.slow
def test_hidden_processes_count_as_dead_only_after_they_end() -> None:
    with running(SAYS_ITS_NAME, current_process_id(), a_dead_process(), within=HIDDEN) as said:
        name, alive, once = said
        # Of a number that is taken again by a process that cannot be looked at, nothing is known.
        assert (alive, once) == ("False", "False")
        assert not is_dead(name)
    with subprocess.Popen(
        [sys.executable, "-c", SAYS_ITS_NAME], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        name = child.stdout.readline().strip()
    with running(SAYS_ITS_NAME, name, within=HIDDEN) as said:
        assert said[1] == "True"
