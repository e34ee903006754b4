"""Runs the ``on_failure`` hook of a job file when a scheduled run has failed."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import httpx
import structlog

#: Seconds for a command, and for each part of a request.
_COMMAND_TIMEOUT, _REQUEST_TIMEOUT = 60, 10

_log = structlog.get_logger()


def notify(target: str | Sequence[str], facts: Mapping[str, str]) -> None:
    """Run the command with the facts in its environment, or post them to the URL as JSON.

    A failure of the hook is only logged: the scheduled run has failed already.
    """
    try:
        if isinstance(target, str):
            _post(target, facts)
        else:
            _run_command(target, facts)
    except (OSError, ValueError, subprocess.SubprocessError, httpx.HTTPError) as error:
        # Do not log the message: it repeats the URL, which may be a secret.
        _log.error("on_failure_failed", why=type(error).__name__, **facts)
    else:
        _log.info("failure_hook_notified", **facts)


def _run_command(command: Sequence[str], facts: Mapping[str, str]) -> None:
    variables = {f"ARCHON_BATCH_{key.upper()}": value for key, value in facts.items()}
    # The hook must not write to our standard output, which is data such as the job's id.
    subprocess.run(  # noqa: S603  (the operator wrote it; no shell)
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        timeout=_COMMAND_TIMEOUT,
        check=True,
    )


def _post(url: str, facts: Mapping[str, str]) -> None:
    # Any status but 2xx is a failure; redirects are not followed.
    # The body is not read: it could take long.
    with httpx.stream("POST", url, json=dict(facts), timeout=_REQUEST_TIMEOUT) as response:
        response.raise_for_status()
