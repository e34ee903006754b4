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

#: Variables with keys and addresses of providers.
_KEY = re.compile(r"_API_(KEY|BASE)$|^ARCHON_BATCH_KEY_")
#: Less free disk space may be too little for a job's answers.
_MIN_FREE_BYTES = 1 << 30
#: Permission bits of everybody except the owner.
_GROUP_AND_OTHERS = 0o077


@click.command()
@options.json_option
def doctor(as_json: bool) -> int:
    """Check this installation for problems (sends nothing).

    Exit status 3 if a check fails.
    """
    settings = options.load_settings()
    results = [
        {"check": name, "ok": ok, "detail": detail}
        for name, check in _CHECKS.items()
        for ok, detail in _run_check(check, settings)
    ]
    if as_json:
        print_json(results)
    else:
        for result in results:
            ok = result["ok"]
            click.secho("ok    " if ok else "FAILED", nl=False, fg="green" if ok else "red")
            echo(f" {result['check']}: {result['detail']}")
    return 0 if all(result["ok"] for result in results) else 3


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
        for problem in store.problems():
            yield False, problem
        if store.sqlite_path and store.sqlite_path.stat().st_mode & _GROUP_AND_OTHERS:
            yield (
                False,
                f"other users can read {store.sqlite_path}, which has prompts and answers: chmod 600",
            )
        if future := [
            job for job in jobs if max(job.created_at, job.ended_at or job.created_at) > now()
        ]:
            yield False, f"job {future[0].id} is dated in the future: check this machine's clock"
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
        alive = [worker for worker in store.workers.all() if worker.is_alive]
    finally:
        store.close()
    for worker in alive:
        yield True, f"{worker.name} consumes {', '.join(worker.queues)}"
    for queue in sorted({"calls", "joins"} - {q for worker in alive for q in worker.queues}):
        yield False, f"no worker consumes {queue}: start a pool that does"


def _check_keys(_settings: Settings) -> Iterator[tuple[bool, str]]:
    # Only the names: the values are secret.
    names = sorted(n for n in os.environ if _KEY.search(n))
    yield True, ", ".join(names) or "none set; models of providers need their keys"
    for variable, why in malformed_keys(os.environ).items():
        yield False, f"{variable} {why}"


def _check_proxies(_settings: Settings) -> Iterator[tuple[bool, str]]:
    # A proxy may be intended, so it is shown and is no failure.
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
        yield False, "out of inodes in this folder"


def _check_open_files(settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.engine.open_files import RESERVED_FILES  # noqa: PLC0415

    # A process raises its soft limit up to the hard limit.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_in_flight + RESERVED_FILES
    unlimited = hard_limit == resource.RLIM_INFINITY
    limit = "no limit" if unlimited else f"a limit of {hard_limit:,}"
    needs = f"{settings.max_in_flight:,} calls need {wanted:,}"
    yield unlimited or hard_limit >= wanted, f"{limit} on open files (ulimit -Hn); {needs}"


def _check_sandbox(_settings: Settings) -> Iterator[tuple[bool, str]]:
    from archon_batch.sandbox import run_attacks  # noqa: PLC0415

    try:
        attacks = list(run_attacks())
    except SettingsError as error:
        yield True, f"none; only execute: sandbox and the metric code need it ({error.why})"
        return
    contained = sum(attack.contained for attack in attacks)
    detail = f"contains {contained} of {len(attacks)} attack programs"
    yield contained == len(attacks), detail
    for attack in attacks:
        if not attack.contained:
            yield False, f"not contained: a program that {attack.name}: {attack.why}"


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
