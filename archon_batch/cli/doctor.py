"""``archon-batch doctor``."""

import os
import platform
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import click

from archon_batch.cli import options
from archon_batch.cli.tables import print_json
from archon_batch.cli.terminal_page import say
from archon_batch.errors import ArchonBatchError, SettingsError
from archon_batch.settings import Settings, detours, odd_keys
from archon_batch.store import Store, now

_KEY = re.compile(r"_API_(KEY|BASE)$|^ARCHON_BATCH_KEY_")
#: Bytes below which a night's answers may not fit.
_LITTLE_DISK = 1 << 30
#: The rights of all but a file's owner.
_OTHERS = 0o077


@click.command()
@options.json_option
def doctor(as_json: bool) -> int:
    """Look for what would keep a job from running here; send nothing."""
    settings = options.settings()
    found = [
        {"what": what, "ok": ok, "found": text}
        for what, look in _CHECKS.items()
        for ok, text in _looked(look, settings)
    ]
    if as_json:
        print_json(found)
    else:
        for line in found:
            click.secho(
                "ok   " if line["ok"] else "WRONG", nl=False, fg="green" if line["ok"] else "red"
            )
            say(f" {line['what']}: {line['found']}")
    return 0 if all(line["ok"] for line in found) else 3


def _looked(
    look: Callable[[Settings], Iterator[tuple[bool, str]]], settings: Settings
) -> Iterator[tuple[bool, str]]:
    try:
        yield from look(settings)
    except ArchonBatchError as error:
        yield False, str(error)


def _program(_settings: Settings) -> Iterator[tuple[bool, str]]:
    names = ("archon-batch", "celery", "litellm")
    yield (
        True,
        ", ".join([f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in names)]),
    )


def _database(settings: Settings) -> Iterator[tuple[bool, str]]:
    store = Store.open(settings.database_url, Path(settings.spool))
    try:
        jobs = store.jobs.all()
        yield True, f"{store.where}, {len(jobs)} jobs"
        for fault in store.faults():
            yield False, fault
        if store.file and store.file.stat().st_mode & _OTHERS:
            yield False, f"others may read {store.file}, which holds prompts and answers: chmod 600"
        if late := [
            job for job in jobs if max(job.created_at, job.ended_at or job.created_at) > now()
        ]:
            yield False, f"job {late[0].id} is of a later time than this machine's clock has"
    finally:
        store.close()


def _broker(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.embedded:
        yield True, "none: jobs run in the process of the command"
        return
    from archon_batch.engine.broker import reached  # noqa: PLC0415

    yield True, f"{reached()} answers"


def _workers(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.embedded:
        yield True, "none: jobs run in the process of the command"
        return
    store = Store.open(settings.database_url)
    try:
        there = [worker for worker in store.workers.all() if worker.is_there]
    finally:
        store.close()
    for worker in there:
        yield True, f"{worker.name} drains {', '.join(worker.queues)}"
    for queue in sorted({"calls", "joins"} - {q for worker in there for q in worker.queues}):
        yield False, f"no worker drains {queue}: start a pool that does"


def _keys(_settings: Settings) -> Iterator[tuple[bool, str]]:
    # Names only: a key is never shown.
    names = sorted(n for n in os.environ if _KEY.search(n))
    yield True, ", ".join(names) or "none set; models of providers need theirs"
    for variable, why in odd_keys(os.environ).items():
        yield False, f"{variable} {why}"


def _network(_settings: Settings) -> Iterator[tuple[bool, str]]:
    # It may be meant so: then it is good to see.
    yield True, ", ".join(detours(os.environ)) or "no proxy is set"


def _local(_settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.providers.local_model import MODELS, ensure_installed  # noqa: PLC0415

    for model in MODELS:
        ensure_installed(model)
        yield True, f"{model} is installed"


def _extras(_settings: Settings) -> Iterator[tuple[bool, str]]:
    extras = {"postgres": "psycopg", "parquet": "pyarrow", "flower": "flower"}
    yield True, ", ".join(f"{n}: {'yes' if find_spec(m) else 'no'}" for n, m in extras.items())


def _disk(_settings: Settings) -> Iterator[tuple[bool, str]]:
    free = shutil.disk_usage(Path.cwd()).free
    yield free >= _LITTLE_DISK, f"{free / (1 << 30):.1f} GiB free in this folder"
    system = os.statvfs(Path.cwd())
    if system.f_files and not system.f_favail:
        yield False, "no file can be made in this folder: its file system has as many as it takes"


def _files(settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.engine.open_files import OWN  # noqa: PLC0415

    # A process raises its own limit as far as this one.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_in_flight + OWN
    endless = most == resource.RLIM_INFINITY
    may = f"{'any number' if endless else f'{most:,}'} may be open (ulimit -Hn)"
    yield endless or most >= wanted, f"{may}; {settings.max_in_flight:,} calls want {wanted:,}"


def _sandbox(_settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.sandbox import attacked  # noqa: PLC0415

    try:
        found = list(attacked())
    except SettingsError as error:
        yield True, f"none, and only execute: sandbox and the metric code need it ({error.why})"
        return
    held = sum(attack.held for attack in found)
    yield held == len(found), f"holds {held} of {len(found)} hostile programs"
    for attack in found:
        if not attack.held:
            yield False, f"a program that {attack.name}: {attack.why}"


_CHECKS: dict[str, Callable[[Settings], Iterator[tuple[bool, str]]]] = {
    "program": _program,
    "database": _database,
    "broker": _broker,
    "workers": _workers,
    "keys": _keys,
    "network": _network,
    "local model": _local,
    "extras": _extras,
    "disk": _disk,
    "files": _files,
    "sandbox": _sandbox,
}
