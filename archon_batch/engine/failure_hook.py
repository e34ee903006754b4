"""Tells whoever ``on_failure`` of a job file names that a night has failed."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import httpx
import structlog

#: Seconds that a command, and each part of a request, may take.
_COMMAND_TIMEOUT, _REQUEST_TIMEOUT = 60, 10

_log = structlog.get_logger()


def notify(target: str | Sequence[str], facts: Mapping[str, str]) -> None:
    """Run the command with the facts in its environment, or post them to the URL as JSON.

    That nobody could be told is logged, and changes nothing: the night has failed already.
    """
    try:
        if isinstance(target, str):
            _post(target, facts)
        else:
            _run_command(target, facts)
    except (OSError, ValueError, subprocess.SubprocessError, httpx.HTTPError) as error:
        # Not in its own words: they repeat the URL, which may be a secret.
        _log.error("on_failure_failed", why=type(error).__name__, **facts)
    else:
        _log.info("failure_hook_notified", **facts)


def _run_command(command: Sequence[str], facts: Mapping[str, str]) -> None:
    told = {f"ARCHON_BATCH_{key.upper()}": value for key, value in facts.items()}
    # Our standard output is data, such as the job's id.
    subprocess.run(  # noqa: S603  (what the operator wrote, and no shell)
        command,
        env={**os.environ, **told},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        timeout=_COMMAND_TIMEOUT,
        check=True,
    )


def _post(url: str, facts: Mapping[str, str]) -> None:
    # A redirect is not followed, and is a failure like any other status but 2xx.
    # What it says is not read: it could take its time.
    with httpx.stream("POST", url, json=dict(facts), timeout=_REQUEST_TIMEOUT) as answer:
        answer.raise_for_status()
