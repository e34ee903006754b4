"""A terminal or a session that goes away: SIGHUP, which asks a process to stop as SIGTERM does."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

SignalHandler = Callable[[int, FrameType | None], object]

#: What the program was started with: ``nohup`` has it ignored.
_IGNORED = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
#: Standard input, output and error where they are a terminal's.
_TERMINAL_FDS = [fd for fd in range(3) if os.isatty(fd)]


def handle_sighup(handler: SignalHandler) -> Callable[[], None]:
    """Have SIGHUP call the handler, unless the program was started with it ignored.

    It may come several times: from the shell, and from the kernel when the shell has gone. Return
    what undoes it.
    """

    def hung_up(number: int, frame: FrameType | None) -> None:
        detach_terminal()
        handler(number, frame)

    def undo() -> None:
        signal.signal(signal.SIGHUP, before)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if _IGNORED else hung_up)
    return undo


def detach_terminal() -> None:
    """Write to nowhere what would go to the terminal, if it has gone: it would be an error."""
    for fd in _TERMINAL_FDS:
        if not os.isatty(fd):
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, fd)
                os.close(nowhere)
