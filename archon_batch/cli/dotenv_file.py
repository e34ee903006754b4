"""The folder's .env: keys of providers and settings of ours, and nothing that steers a program.

A folder may be somebody else's: a repository, an archive. Child processes and the loader obey
LD_PRELOAD, PATH, PYTHONPATH and proxies, so these are set in the environment or not at all.
"""

import io
import os
from pathlib import Path

from archon_batch.cli.terminal_page import echo
from archon_batch.errors import InputError
from archon_batch.settings import PREFIX, belongs_to_another_program, is_known_variable, why_unknown
from archon_batch.untrusted_text import TextFileError, read_text

_MAX_BYTES = 1 << 20


def load_env_file(path: Path) -> None:
    """Set what the file says and the environment does not; tell once what is not taken.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    # A folder of that name is a virtual environment.
    if not path.is_file():
        return
    # It is not imported before the command line is entered.
    from dotenv.main import DotEnv  # noqa: PLC0415
    from dotenv.parser import parse_stream  # noqa: PLC0415

    bindings = list(parse_stream(io.StringIO(_read_text(path))))
    unknown: dict[str, int] = {}
    for one in bindings:
        text = one.original.string
        line = one.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if one.error:
            echo(f"warning: {path.name}:{line}: not taken: it is no NAME=VALUE", err=True)
        elif one.key is not None and not (
            is_known_variable(one.key) or belongs_to_another_program(one.key)
        ):
            unknown.setdefault(one.key, line)
    _warn_ignored(path.name, unknown)
    # python-dotenv would log a line that is told already.
    sound = "".join(one.original.string for one in bindings if not one.error)
    for name, value in DotEnv(None, io.StringIO(sound), override=False).dict().items():
        if value is not None and is_known_variable(name):
            os.environ.setdefault(name, value)


def _read_text(path: Path) -> str:
    try:
        return read_text(path, _MAX_BYTES)
    except TextFileError as error:
        file = f"{path.name}:{error.line}" if error.line else path.name
        raise InputError(f"{file}: {error.why}") from None


def _warn_ignored(file: str, unknown: dict[str, int]) -> None:
    """A line for each that was meant for us, and one for all others."""
    others = dict(unknown)
    for name, line in unknown.items():
        if name.startswith(PREFIX):
            del others[name]
            echo(f"warning: {file}:{line}: {name} is unknown: {why_unknown(name)}", err=True)
    if others:
        (name, line), *more = others.items()
        nor = f"; nor are {', '.join(f'{n} ({at})' for n, at in more)}" if more else ""
        echo(f"warning: {file}:{line}: {name} is not taken: {why_unknown(name)}{nor}", err=True)
