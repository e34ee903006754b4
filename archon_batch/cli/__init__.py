"""The commands, one module each. A command's module is imported only when the command is called."""

import difflib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from archon_batch.errors import ArchonBatchError, InputError


class _Entry(NamedTuple):
    #: The module in this package; its attribute is the command's name unless ``attribute`` names it.
    module: str
    summary: str
    attribute: str | None = None


#: The commands by section of the help, in the order in which a newcomer needs them.
_SECTIONS: dict[str, dict[str, _Entry]] = {
    "First steps": {
        "doctor": _Entry("doctor", "Check this installation for problems (sends nothing)."),
        "check": _Entry("check", "Validate architecture, job, pool and search space files."),
        "plan": _Entry("plan", "Estimate calls, tokens and cost of a dataset."),
        "try": _Entry("try_prompt", "Run one prompt and show every call.", "try_prompt"),
        "submit": _Entry("submit", "Run a dataset through an architecture."),
        "status": _Entry("status", "Show the progress of a job."),
        "show": _Entry("show", "Show the answers of a job, or one row with every call."),
        "cost": _Entry("cost", "Show the cost of a job by layer, component or model."),
        "export": _Entry("export", "Write the answers of a job to a file."),
        "resume": _Entry("resume", "Continue a job that was stopped."),
    },
    "Run": {
        "retry": _Entry("resume", "Run failed or cancelled rows of a job again."),
        "cancel": _Entry("resume", "Cancel a job; its answers are kept."),
    },
    "Inspect": {
        "jobs": _Entry("jobs", "List the jobs."),
        "report": _Entry("report", "Write a job as an HTML page."),
        "verify": _Entry("verify", "Recompute the costs and answers of a job."),
    },
    "Evaluate": {
        "score": _Entry("score", "Score the answers of a job by a reference or by a judge."),
        "bench": _Entry("bench", "Run a published benchmark and score it."),
        "search": _Entry("search", "Search for the best architecture for a dataset."),
    },
    "Operate": {
        "worker": _Entry("worker", "Start the workers of a pool file."),
        "schedule": _Entry("schedule", "Start job files at their scheduled times."),
        "limits": _Entry("limits", "Show or set the rate limits of models."),
        "cache": _Entry("cache", "Show or purge the completion cache."),
        "db": _Entry("db", "Migrate the database, or accept a restored one."),
    },
}
_COMMANDS = {name: entry for section in _SECTIONS.values() for name, entry in section.items()}
#: Old names of commands: they still work, with a warning.
_RENAMED = {"rehearse": "try", "beat": "schedule"}

_EPILOG = """\b
Start here:
  archon-batch submit jobs/samples/questions.jsonl --arch quickstart
runs a dozen questions on a small model in one process: no key, no server.

\b
Exit status: 0 every row answered, 1 some rows failed, 2 invalid input,
3 database or broker unavailable, 4 budget reached, 130 interrupted.
"""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        name = _RENAMED.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        entry = _COMMANDS[name]
        module = importlib.import_module(f"archon_batch.cli.{entry.module}")
        command: click.Command = getattr(module, entry.attribute or name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.UsageError:
            if close := difflib.get_close_matches(args[0], _COMMANDS, n=1):
                why = f"No such command {args[0]!r}. Did you mean {close[0]!r}?"
                raise click.UsageError(why, ctx) from None
            raise
        if name in _RENAMED:
            from archon_batch.cli.terminal_page import echo  # noqa: PLC0415

            echo(f"warning: the command {name} is now called {_RENAMED[name]}", err=True)
            name = _RENAMED[name]
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        width = max(map(len, _COMMANDS))
        for title, entries in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(n.ljust(width), e.summary) for n, e in entries.items()])


@click.group(
    cls=_LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="archon-batch")
def archon_batch() -> None:
    """Batch LLM inference through Archon architectures, over a message queue."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, or these arguments, and exit with its status."""
    # These imports are slow, so they wait until the command line is entered.
    from archon_batch.cli.dotenv_file import load_env_file  # noqa: PLC0415
    from archon_batch.cli.terminal_page import echo  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Prompts and answers may be in any script, whatever the locale can encode.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        load_env_file(Path(".env"))
        status = archon_batch.main(arguments, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.ctx.get_help())
        status = 0
    except click.ClickException as error:
        # The message quotes arguments, which a script may have passed on from elsewhere.
        message = io.StringIO()
        error.show(message)
        echo(message.getvalue(), err=True, nl=False)
        status = error.exit_code
    except ArchonBatchError as error:
        lines = error.lines() if isinstance(error, InputError) else (f"error: {error}",)
        for line in lines:
            echo(line, err=True)
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        echo("interrupted", err=True)
        status = 130
    except BrokenPipeError:
        # The reader of our output has exited, so nobody is left to report an error to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:  # noqa: BLE001  (the outermost handler reports every error)
        echo(_unexpected_error(error), err=True)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _unexpected_error(error: Exception) -> str:
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return "error: too many files are open: raise ulimit -n"
    from archon_batch.logs import traceback_without_messages  # noqa: PLC0415

    return f"error: this should not happen; please report it:\n{traceback_without_messages(error)}"
