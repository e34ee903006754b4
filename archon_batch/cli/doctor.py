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
from archon_batch.cli.terminal_page import echo
from archon_batch.errors import ArchonBatchError, SettingsError
from archon_batch.settings import Settings, malformed_keys, proxies
from archon_batch.store import Store, now

_KEY = re.compile(r"_API_(KEY|BASE)$|^ARCHON_BATCH_KEY_")
#: Bytes below which a night's answers may not fit.
_MIN_FREE_BYTES = 1 << 30
#: The rights of all but a file's owner.
_GROUP_AND_OTHERS = 0o077


@click.command()
@options.json_option
def doctor(as_json: bool) -> int:
    """Look for what would keep a job from running here; send nothing."""
    settings = options.load_settings()
    found = [
        {"what": what, "ok": ok, "found": text}
        for what, look in _CHECKS.items()
        for ok, text in _run_check(look, settings)
    ]
    if as_json:
        print_json(found)
    else:
        for line in found:
            click.secho(
                "ok   " if line["ok"] else "WRONG", nl=False, fg="green" if line["ok"] else "red"
            )
            echo(f" {line['what']}: {line['found']}")
    return 0 if all(line["ok"] for line in found) else 3


def _run_check(
    check: Callable[[Settings], Iterator[tuple[bool, str]]], settings: Settings
) -> Iterator[tuple[bool, str]]:
    try:
        yield from check(settings)
    except ArchonBatchError as error:
        yield False, str(error)


def _check_versions(_settings: Settings) -> Iterator[tuple[bool, str]]:
    names = ("archon-batch", "celery", "litellm")
    yield (
        True,
        ", ".join([f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in names)]),
    )


def _check_database(settings: Settings) -> Iterator[tuple[bool, str]]:
    store = Store.open(settings.database_url, Path(settings.spool_folder))
    try:
        jobs = store.jobs.all()
        yield True, f"{store.address}, {len(jobs)} jobs"
        for fault in store.problems():
            yield False, fault
        if store.sqlite_path and store.sqlite_path.stat().st_mode & _GROUP_AND_OTHERS:
            yield (
                False,
                f"others may read {store.sqlite_path}, which holds prompts and answers: chmod 600",
            )
        if late := [
            job for job in jobs if max(job.created_at, job.ended_at or job.created_at) > now()
        ]:
            yield False, f"job {late[0].id} is of a later time than this machine's clock has"
    finally:
        store.close()


def _check_broker(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.in_process:
        yield True, "none: jobs run in the process of the command"
        return
    from archon_batch.engine.broker import check_broker  # noqa: PLC0415

    yield True, f"{check_broker()} answers"


def _check_workers(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.in_process:
        yield True, "none: jobs run in the process of the command"
        return
    store = Store.open(settings.database_url)
    try:
        there = [worker for worker in store.workers.all() if worker.is_alive]
    finally:
        store.close()
    for worker in there:
        yield True, f"{worker.name} drains {', '.join(worker.queues)}"
    for queue in sorted({"calls", "joins"} - {q for worker in there for q in worker.queues}):
        yield False, f"no worker drains {queue}: start a pool that does"


def _check_keys(_settings: Settings) -> Iterator[tuple[bool, str]]:
    # Names only: a key is never shown.
    names = sorted(n for n in os.environ if _KEY.search(n))
    yield True, ", ".join(names) or "none set; models of providers need theirs"
    for variable, why in malformed_keys(os.environ).items():
        yield False, f"{variable} {why}"


def _check_proxies(_settings: Settings) -> Iterator[tuple[bool, str]]:
    # It may be meant so: then it is good to see.
    yield True, ", ".join(proxies(os.environ)) or "no proxy is set"


def _check_local_models(_settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.providers.local_model import MODELS, installed_weights  # noqa: PLC0415

    for model in MODELS:
        installed_weights(model)
        yield True, f"{model} is installed"


def _check_extras(_settings: Settings) -> Iterator[tuple[bool, str]]:
    extras = {"postgres": "psycopg", "parquet": "pyarrow", "flower": "flower"}
    yield True, ", ".join(f"{n}: {'yes' if find_spec(m) else 'no'}" for n, m in extras.items())


def _check_disk(_settings: Settings) -> Iterator[tuple[bool, str]]:
    free = shutil.disk_usage(Path.cwd()).free
    yield free >= _MIN_FREE_BYTES, f"{free / (1 << 30):.1f} GiB free in this folder"
    system = os.statvfs(Path.cwd())
    if system.f_files and not system.f_favail:
        yield False, "no file can be made in this folder: its file system has as many as it takes"


def _check_open_files(settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.engine.open_files import RESERVED_FILES  # noqa: PLC0415

    # A process raises its own limit as far as this one.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_in_flight + RESERVED_FILES
    endless = most == resource.RLIM_INFINITY
    may = f"{'any number' if endless else f'{most:,}'} may be open (ulimit -Hn)"
    yield endless or most >= wanted, f"{may}; {settings.max_in_flight:,} calls want {wanted:,}"


def _check_sandbox(_settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.sandbox import run_attacks  # noqa: PLC0415

    try:
        found = list(run_attacks())
    except SettingsError as error:
        yield True, f"none, and only execute: sandbox and the metric code need it ({error.why})"
        return
    held = sum(attack.contained for attack in found)
    yield held == len(found), f"holds {held} of {len(found)} hostile programs"
    for attack in found:
        if not attack.contained:
            yield False, f"a program that {attack.name}: {attack.why}"


_CHECKS: dict[str, Callable[[Settings], Iterator[tuple[bool, str]]]] = {
    "program": _check_versions,
    "database": _check_database,
    "broker": _check_broker,
    "workers": _check_workers,
    "keys": _check_keys,
    "network": _check_proxies,
    "local model": _check_local_models,
    "extras": _check_extras,
    "disk": _check_disk,
    "files": _check_open_files,
    "sandbox": _check_sandbox,
}
