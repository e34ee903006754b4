"""``archon-batch limits``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import click

from archon_batch.calls.limit_backends import LimitBackend, limit_usage, open_limit_backend
from archon_batch.cli import options
from archon_batch.cli.tables import print_json, print_table, stderr
from archon_batch.cli.terminal_page import echo
from archon_batch.errors import InputError
from archon_batch.rate_limits import RateLimits
from archon_batch.store import ModelKey, Store

F = TypeVar("F", bound=Callable[..., Any])

#: The largest value that fits into the database column.
_MAX_LIMIT = 2_000_000_000


def _limit_option(name: str, help_text: str) -> Callable[[F], F]:
    return click.option(name, type=click.IntRange(1, _MAX_LIMIT), metavar="N", help=help_text)


@click.command()
@click.argument("model", required=False)
@_limit_option("--rpm", "Requests per minute.")
@_limit_option("--tpm", "Tokens per minute, prompts and replies together.")
@_limit_option("--max-in-flight", "Concurrent calls.")
@click.option("--api-base", metavar="URL", help="The model at this address.")
@click.option("--clear", is_flag=True, help="Remove the limits that this command set.")
@options.json_option
def limits(
    model: str | None,
    rpm: int | None,
    tpm: int | None,
    max_in_flight: int | None,
    api_base: str | None,
    clear: bool,
    as_json: bool,
) -> None:
    """Show the rate limits and the usage of the models of running jobs, over all workers.

    With MODEL (its litellm name), set its limits. They replace the limits in architecture files for
    all jobs until they are cleared; workers apply them within seconds.
    """
    changes = RateLimits(rpm, tpm, max_in_flight)
    if model is None and (changes or clear or api_base):
        raise InputError("limits: name the MODEL")
    if changes and clear:
        raise InputError(
            "limits: --clear removes every limit; use it without --rpm, --tpm and --max-in-flight"
        )
    with _open_limits() as (store, backend):
        if model is not None and (changes or clear):
            _set_limits(store, _model_key(store, model, api_base), changes)
        usage = limit_usage(store, backend)
    if model is not None:
        usage = [entry for entry in usage if entry["model"] == model]
    if as_json:
        print_json(usage)
        return
    if not usage:
        echo("no limits are set and no job is running")
        return
    header = (
        "model", "address", "rpm", "tpm", "max in flight", "in flight", "adaptive limit",
        "circuit open", "set here",
    )  # fmt: skip
    print_table(header, [_row(entry) for entry in usage])


@contextmanager
def _open_limits() -> Iterator[tuple[Store, LimitBackend]]:
    settings = options.load_settings()
    with options.open_store(settings) as store:
        backend = open_limit_backend(store, settings.result_url, settings.broker_url)
        try:
            yield store, backend
        finally:
            backend.close()


def _model_key(store: Store, model: str, api_base: str | None) -> ModelKey:
    """The model with its address; the address is optional if running jobs use only one."""
    if api_base is not None:
        return ModelKey(model, api_base)
    keys = [key for key in store.rate_limits.all() if key.model == model]
    if len(keys) > 1:
        known = ", ".join(key.api_base or "the provider's own" for key in keys)
        raise InputError(f"limits: {model} is called at {known}; choose one by --api-base")
    return keys[0] if keys else ModelKey(model)


def _set_limits(store: Store, key: ModelKey, changes: RateLimits) -> None:
    configured = store.rate_limits.all().get(key)
    before = configured.operator_limits if configured and changes else RateLimits()
    store.rate_limits.set_operator_limits(key, changes.with_fallback(before))
    text = ", ".join(f"{name} {value:,}" for name, value in asdict(changes).items() if value)
    stderr.print(f"{key.model}: {text or 'limits of the jobs'}")


def _row(model: dict[str, Any]) -> list[object]:
    open_for = f"{model['circuit_open_seconds']:.0f} s" if model["circuit_open_seconds"] else None
    set_here = ", ".join(name for name in ("rpm", "tpm", "max_in_flight") if model["set"][name])
    values = [
        model[name] for name in ("rpm", "tpm", "max_in_flight", "in_flight", "adaptive_limit")
    ]
    return [model["model"], model["api_base"], *values, open_for, set_here or None]
