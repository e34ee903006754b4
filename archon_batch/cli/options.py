"""What commands have in common: settings, the store, the job that an argument names, options."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar, cast

import click

from archon_batch import logs
from archon_batch.application.open_store import open_store as open_settings_store
from archon_batch.cli.terminal_page import echo
from archon_batch.config import text_or_file
from archon_batch.dataset import ReadOptions
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd, to_nano
from archon_batch.settings import Settings, misspelled
from archon_batch.store import Store

F = TypeVar("F", bound=Callable[..., Any])

#: Dollars that no job of ours should be given by a slip of the keyboard.
_MAX_USD = Decimal(10_000_000)
#: Digits as people write them, down to the nano-dollar.
_AMOUNT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")


def load_settings(processes: int | None = None) -> Settings:
    """Read the environment, and let events be logged as it says."""
    found = Settings.from_environment()
    if processes is not None:
        found = replace(found, processes=processes)
    logs.configure(found.log_level, found.log_format)
    for words in misspelled(os.environ):
        echo(f"warning: {words}", err=True)
    return found


@contextmanager
def open_store(found: Settings | None = None, *, spool: bool = False) -> Iterator[Store]:
    with open_settings_store(found or load_settings(), spool=spool) as store:
        yield store


class UsdParam(click.ParamType[NanoUsd]):
    """An amount of money as it is written: ``25`` or ``0.40``."""

    name = "usd"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> NanoUsd:
        if not isinstance(value, str):
            return NanoUsd(value)
        amount = Decimal(value) if _AMOUNT.fullmatch(value) else Decimal(0)
        if not 0 < amount <= _MAX_USD:
            self.fail(
                f"expected an amount of USD above 0, such as 25 or 0.40; found {value!r}",
                param,
                ctx,
            )
        return to_nano(amount)


def arch_option(command: F) -> F:
    return click.option(
        "--arch",
        required=True,
        metavar="ARCH",
        help="Architecture: a path, or a name in jobs/architectures.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def processes_option(command: F) -> F:
    return click.option(
        "--processes",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Processes of this command; default: the cores, if there are rows enough.",
    )(command)


def dataset_options(command: F) -> F:
    """The options that say how a dataset is read, handed to the command as one ``reading``."""

    @wraps(command)
    def reads(
        prompt_field: str | None,
        template: str | None,
        id_field: str | None,
        limit: int | None,
        skip_bad_rows: bool,
        **more: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        reading = ReadOptions(
            prompt_field=prompt_field or ReadOptions().prompt_field,
            id_field=id_field or ReadOptions().id_field,
            template=_template_text(template),
            limit=limit,
            skip_bad_rows=skip_bad_rows,
        )
        return command(reading=reading, **more)

    for option in (
        click.option("--skip-bad-rows", is_flag=True, help="Record a wrong row as given up."),
        click.option("--limit", type=click.IntRange(1), metavar="N", help="Take N rows."),
        click.option("--id-field", metavar="F", help="Key of the row's id; default: id."),
        click.option("--template", metavar="TEXT|@FILE", help="Prompt with {key} from the row."),
        click.option("--prompt-field", metavar="F", help="Key of the prompt; default: prompt."),
    ):
        reads = option(reads)
    return cast("F", reads)


def _template_text(given: str | None) -> str | None:
    try:
        return None if given is None else text_or_file(given)
    except ValueError as error:
        raise InputError(f"--template: {error}") from None
