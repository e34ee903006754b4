"""What commands share: settings, the store, options and their types."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
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

#: Upper bound of an amount in USD, against typing errors.
_MAX_USD = Decimal(10_000_000)
#: A decimal amount with at most nine fractional digits (nano-dollars).
_AMOUNT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")


def load_settings(processes: int | None = None) -> Settings:
    """Read the environment, configure logging, and warn about misspelled variables."""
    settings = Settings.from_environment()
    if processes is not None:
        settings = replace(settings, processes=processes)
    logs.configure(settings.log_level, settings.log_format)
    for warning in misspelled(os.environ):
        echo(f"warning: {warning}", err=True)
    return settings


@contextmanager
def open_store(settings: Settings | None = None, *, spool: bool = False) -> Iterator[Store]:
    with open_settings_store(settings or load_settings(), spool=spool) as store:
        yield store


class CommandWithRenamedOptions(click.Command):
    """A command that accepts the old names of its options, and warns about them."""

    def __init__(self, *args: Any, renamed: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        #: From the old name to the new one.
        self._renamed = renamed

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [self._current(arg) for arg in args])

    def _current(self, arg: str) -> str:
        name, equals, value = arg.partition("=")
        if name not in self._renamed:
            return arg
        echo(f"warning: the option {name} is now called {self._renamed[name]}", err=True)
        return f"{self._renamed[name]}{equals}{value}"


class UsdParam(click.ParamType[NanoUsd]):
    """An amount of USD, such as ``25`` or ``0.40``."""

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


def full_option(command: F) -> F:
    return click.option("--full", is_flag=True, help="Show texts in full length.")(command)


def force_option(command: F) -> F:
    return click.option("--force", is_flag=True, help="Overwrite FILE.")(command)


def no_cache_option(command: F) -> F:
    return click.option(
        "--no-cache", is_flag=True, help="Do not use the completion cache: pay for every call."
    )(command)


def allow_unpriced_option(command: F) -> F:
    return click.option(
        "--allow-unpriced", is_flag=True, help="Allow models without a known price."
    )(command)


def follow_option(command: F) -> F:
    return click.option(
        "--follow/--detach",
        "wait",
        default=None,
        help="Wait until the job ends, or return at once.",
    )(command)


def processes_option(command: F) -> F:
    return click.option(
        "--processes",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Number of processes without a broker. Default: one per core if there are enough rows.",
    )(command)


def dataset_options(command: F) -> F:
    """Add the options that define how a dataset is read; the command gets them as ``read_options``."""

    @wraps(command)
    def with_read_options(
        prompt_field: str | None,
        template: str | None,
        id_field: str | None,
        limit: int | None,
        skip_bad_rows: bool,
        **others: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        defaults = ReadOptions()
        read_options = ReadOptions(
            prompt_field=prompt_field or defaults.prompt_field,
            id_field=id_field or defaults.id_field,
            template=_template_text(template),
            limit=limit,
            skip_bad_rows=skip_bad_rows,
        )
        return command(read_options=read_options, **others)

    for option in (
        click.option("--skip-bad-rows", is_flag=True, help="Record an invalid row as failed."),
        click.option("--limit", type=click.IntRange(1), metavar="N", help="Read only N rows."),
        click.option("--id-field", metavar="F", help="Key of the row's id. Default: id."),
        click.option(
            "--template", metavar="TEXT|@FILE", help="Prompt with {key} replaced from the row."
        ),
        click.option("--prompt-field", metavar="F", help="Key of the prompt. Default: prompt."),
    ):
        with_read_options = option(with_read_options)
    return cast("F", with_read_options)


def _template_text(value: str | None) -> str | None:
    try:
        return None if value is None else text_or_file(value)
    except ValueError as error:
        raise InputError(f"--template: {error}") from None
