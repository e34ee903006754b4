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

#: What fits into a column.
_MAX_LIMIT = 2_000_000_000


def _limit_option(name: str, help_text: str) -> Callable[[F], F]:
    return click.option(name, type=click.IntRange(1, _MAX_LIMIT), metavar="N", help=help_text)


@click.command()
@click.argument("model", required=False)
@_limit_option("--rpm", "Requests a minute.")
@_limit_option("--tpm", "Tokens a minute, of prompts and replies.")
@_limit_option("--max-in-flight", "Calls at once.")
@click.option("--api-base", metavar="URL", help="Of the model at this address.")
@click.option("--clear", is_flag=True, help="Take back what was set here.")
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
    """Show what the models of running jobs may take and do take, over all workers.

    With MODEL, a name as litellm knows it, change that while jobs run. What is set here holds
    instead of what architectures say, for all jobs, until it is cleared; workers know of it
    within seconds.
    """
    given = RateLimits(rpm, tpm, max_in_flight)
    if model is None and (given or clear or api_base):
        raise InputError("limits: say of which MODEL")
    if given and clear:
        raise InputError("limits: --clear takes back every limit; set some or clear them")
    with _open_limits() as (store, meter):
        if model is not None and (given or clear):
            _set_limits(store, _model_key(store, model, api_base), given)
        told = limit_usage(store, meter)
    if model is not None:
        told = [one for one in told if one["model"] == model]
    if as_json:
        print_json(told)
        return
    if not told:
        echo("no limits are set, and no job is running")
        return
    header = ("model", "at", "rpm", "tpm", "at once", "in flight", "width", "parked", "set here")
    print_table(header, [_row(one) for one in told])


@contextmanager
def _open_limits() -> Iterator[tuple[Store, LimitBackend]]:
    settings = options.load_settings()
    with options.open_store(settings) as store:
        meter = open_limit_backend(store, settings.result_url, settings.broker_url)
        try:
            yield store, meter
        finally:
            meter.close()


def _model_key(store: Store, model: str, api_base: str | None) -> ModelKey:
    """The model where it is called; where it is, is clear if running jobs call it in one place."""
    if api_base is not None:
        return ModelKey(model, api_base)
    places = [key for key in store.rate_limits.all() if key.model == model]
    if len(places) > 1:
        known = ", ".join(key.api_base or "the provider's own" for key in places)
        raise InputError(f"limits: {model} is called at {known}; choose one by --api-base")
    return places[0] if places else ModelKey(model)


def _set_limits(store: Store, key: ModelKey, changes: RateLimits) -> None:
    asked = store.rate_limits.all().get(key)
    before = asked.operator_limits if asked and changes else RateLimits()
    store.rate_limits.set_operator_limits(key, changes.with_fallback(before))
    said = ", ".join(f"{name} {value:,}" for name, value in asdict(changes).items() if value)
    stderr.print(f"{key.model}: {said or 'as the jobs ask'}")


def _row(model: dict[str, Any]) -> list[object]:
    parked = f"{model['parked_seconds']:.0f} s" if model["parked_seconds"] else None
    named = ", ".join(name for name in ("rpm", "tpm", "max_in_flight") if model["set"][name])
    shown = [model[name] for name in ("rpm", "tpm", "max_in_flight", "in_flight", "width")]
    return [model["model"], model["api_base"], *shown, parked, named or None]
