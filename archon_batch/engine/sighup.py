"""SIGHUP, sent when a terminal or session closes: stops a process like SIGTERM."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

SignalHandler = Callable[[int, FrameType | None], object]

#: Whether the program was started with SIGHUP ignored, as by ``nohup``.
_IGNORED = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
#: Those of standard input, output and error that are a terminal.
_TERMINAL_FDS = [fd for fd in range(3) if os.isatty(fd)]


def handle_sighup(handler: SignalHandler) -> Callable[[], None]:
    """Call the handler on SIGHUP, unless the program was started with SIGHUP ignored.

    The signal may arrive several times: from the shell, and from the kernel after the shell has
    exited. Return a function that restores the previous handler.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        detach_terminal()
        handler(number, frame)

    def restore() -> None:
        signal.signal(signal.SIGHUP, previous)

    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN if _IGNORED else handle)
    return restore


def detach_terminal() -> None:
    """Redirect a closed terminal to the null device: writing to it would raise."""
    for fd in _TERMINAL_FDS:
        if not os.isatty(fd):
            with suppress(OSError):
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, fd)
                os.close(null)
