"""``archon-batch limits``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import click

from archon_batch.calls import Meters, figures, meters
from archon_batch.cli import options
from archon_batch.cli.tables import aside, print_json, print_table
from archon_batch.cli.terminal_page import say
from archon_batch.errors import InputError
from archon_batch.rate_limits import Limits
from archon_batch.store import ModelKey, Store

F = TypeVar("F", bound=Callable[..., Any])

#: What fits into a column.
_MOST = 2_000_000_000


def _limit(name: str, what: str) -> Callable[[F], F]:
    return click.option(name, type=click.IntRange(1, _MOST), metavar="N", help=what)


@click.command()
@click.argument("model", required=False)
@_limit("--rpm", "Requests a minute.")
@_limit("--tpm", "Tokens a minute, of prompts and replies.")
@_limit("--max-in-flight", "Calls at once.")
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
    given = Limits(rpm, tpm, max_in_flight)
    if model is None and (given or clear or api_base):
        raise InputError("limits: say of which MODEL")
    if given and clear:
        raise InputError("limits: --clear takes back every limit; set some or clear them")
    with _opened() as (store, meter):
        if model is not None and (given or clear):
            _change(store, _key(store, model, api_base), given)
        told = figures(store, meter)
    if model is not None:
        told = [one for one in told if one["model"] == model]
    if as_json:
        print_json(told)
        return
    if not told:
        say("no limits are set, and no job is running")
        return
    header = ("model", "at", "rpm", "tpm", "at once", "in flight", "width", "parked", "set here")
    print_table(header, [_row(one) for one in told])


@contextmanager
def _opened() -> Iterator[tuple[Store, Meters]]:
    settings = options.settings()
    with options.store(settings) as store:
        meter = meters(store, settings.result_url, settings.broker_url)
        try:
            yield store, meter
        finally:
            meter.close()


def _key(store: Store, model: str, api_base: str | None) -> ModelKey:
    """The model where it is called; where it is, is clear if running jobs call it in one place."""
    if api_base is not None:
        return ModelKey(model, api_base)
    places = [key for key in store.limits.all() if key.model == model]
    if len(places) > 1:
        known = ", ".join(key.api_base or "the provider's own" for key in places)
        raise InputError(f"limits: {model} is called at {known}; choose one by --api-base")
    return places[0] if places else ModelKey(model)


def _change(store: Store, key: ModelKey, given: Limits) -> None:
    asked = store.limits.all().get(key)
    before = asked.operator if asked and given else Limits()
    store.limits.put(key, given.instead(before))
    said = ", ".join(f"{name} {value:,}" for name, value in asdict(given).items() if value)
    aside.print(f"{key.model}: {said or 'as the jobs ask'}")


def _row(one: dict[str, Any]) -> list[object]:
    parked = f"{one['parked_seconds']:.0f} s" if one["parked_seconds"] else None
    named = ", ".join(name for name in ("rpm", "tpm", "max_in_flight") if one["set"][name])
    shown = [one[name] for name in ("rpm", "tpm", "max_in_flight", "in_flight", "width")]
    return [one["model"], one["api_base"], *shown, parked, named or None]
