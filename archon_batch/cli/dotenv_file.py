"""Reads .env of the current folder: providers' keys and our settings, and no other variables.

The folder may have another author: a repository, an archive. Child processes and the loader obey
LD_PRELOAD, PATH, PYTHONPATH and proxies, so a .env file must not set these.
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
    """Set variables of the file that the environment does not have; warn about ignored variables.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    # A folder named .env is a virtual environment.
    if not path.is_file():
        return
    # The import is slow, so help does not need it.
    from dotenv.main import DotEnv  # noqa: PLC0415
    from dotenv.parser import parse_stream  # noqa: PLC0415

    bindings = list(parse_stream(io.StringIO(_read_text(path))))
    unknown: dict[str, int] = {}
    for binding in bindings:
        text = binding.original.string
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if binding.error:
            echo(f"warning: {path.name}:{line}: ignored: not of the form NAME=VALUE", err=True)
        elif binding.key is not None and not (
            is_known_variable(binding.key) or belongs_to_another_program(binding.key)
        ):
            unknown.setdefault(binding.key, line)
    _warn_ignored(path.name, unknown)
    # python-dotenv would log the lines with errors again.
    valid = "".join(binding.original.string for binding in bindings if not binding.error)
    for name, value in DotEnv(None, io.StringIO(valid), override=False).dict().items():
        if value is not None and is_known_variable(name):
            os.environ.setdefault(name, value)


def _read_text(path: Path) -> str:
    try:
        return read_text(path, _MAX_BYTES)
    except TextFileError as error:
        file = f"{path.name}:{error.line}" if error.line else path.name
        raise InputError(f"{file}: {error.why}") from None


def _warn_ignored(file: str, unknown: dict[str, int]) -> None:
    """Warn once for each unknown setting of ours, and once for all other variables."""
    others = dict(unknown)
    for name, line in unknown.items():
        if name.startswith(PREFIX):
            del others[name]
            echo(f"warning: {file}:{line}: {name} is unknown: {why_unknown(name)}", err=True)
    if others:
        (name, line), *more = others.items()
        nor = f"; nor are {', '.join(f'{n} ({at})' for n, at in more)}" if more else ""
        echo(f"warning: {file}:{line}: {name} is not taken: {why_unknown(name)}{nor}", err=True)
