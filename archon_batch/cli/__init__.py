"""The commands, one file each. A command is imported when it is called: help needs no Celery."""

import difflib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from archon_batch.errors import ArchonBatchError, InputError

#: Each command with the module that holds it and what it is for, in the order of a first day.
_COMMANDS = {
    "check": ("check", "Read architecture, job and pool files; say what is wrong and where."),
    "plan": ("plan", "Foresee calls, tokens and USD by layer; send nothing, or a pilot."),
    "rehearse": ("rehearse", "Run one prompt in this process and show every call."),
    "submit": ("submit", "Run a dataset through an architecture."),
    "search": ("search", "Look for the best architecture for a dataset within a space."),
    "status": ("status", "Say how far a job is."),
    "jobs": ("jobs", "List the jobs."),
    "cost": ("cost", "Say what a job cost, by layer, component or model."),
    "show": ("show", "Show the answers, or one row with every call and attempt."),
    "verify": ("verify", "Add up every entry of a job again, and work out every answer again."),
    "export": ("export", "Write the answers with their account, in the dataset's order."),
    "score": ("score", "Score the answers: by a reference, or by a judge."),
    "bench": ("bench", "Run a benchmark through an architecture, and score it."),
    "report": ("report", "Write a job as one HTML page that people look at."),
    "resume": ("resume", "Go on with a job that was stopped."),
    "retry": ("resume", "Open rows again that were given up or cancelled."),
    "cancel": ("resume", "End a job; keep what was paid for."),
    "limits": ("limits", "Show or change what a model may take, over all workers."),
    "worker": ("worker", "Start the workers of a pool file."),
    "beat": ("beat", "Start job files at their hours."),
    "cache": ("cache", "Look after the replies that are kept for other jobs."),
    "db": ("db", "Look after the database."),
    "doctor": ("doctor", "Look for what would keep a job from running here."),
}

_EPILOG = """\b
Start here:
  archon-batch submit jobs/samples/questions.jsonl --arch quickstart
runs a dozen questions on a small model in this very process: no key, no server.

\b
Exit status: 0 every row answered, 1 some given up, 2 wrong input,
3 database or broker out of reach, 4 stopped by the budget, 130 interrupted.
"""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"archon_batch.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if close := difflib.get_close_matches(args[0], _COMMANDS, n=1):
                why = f"No such command {args[0]!r}. Did you mean {close[0]!r}?"
                raise click.UsageError(why, ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="archon-batch")
def archon_batch() -> None:
    """Batch LLM inference through Archon architectures, over a message queue."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, or these arguments, and end with its exit status."""
    # Not before the command line is entered.
    from archon_batch.cli.dotenv_file import load_env_file  # noqa: PLC0415
    from archon_batch.cli.terminal_page import echo  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Prompts and answers are in any script, whatever the locale has letters for.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        load_env_file(Path(".env"))
        status = archon_batch.main(arguments, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.ctx.get_help())
        status = 0
    except click.ClickException as error:
        # It quotes what was typed, or what a script passed on.
        words = io.StringIO()
        error.show(words)
        echo(words.getvalue(), err=True, nl=False)
        status = error.exit_code
    except ArchonBatchError as error:
        for line in error.lines() if isinstance(error, InputError) else (f"error: {error}",):
            echo(line, err=True)
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        echo("interrupted", err=True)
        status = 130
    except BrokenPipeError:
        # Whoever read us has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:  # noqa: BLE001  (nobody else tells of it)
        echo(_unexpected_error(error), err=True)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _unexpected_error(error: Exception) -> str:
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return "error: too many files are open: raise ulimit -n"
    from archon_batch.logs import traceback_without_messages  # noqa: PLC0415

    return f"error: this should not happen; please report it:\n{traceback_without_messages(error)}"
