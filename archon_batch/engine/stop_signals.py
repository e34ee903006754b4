"""Signals that ask a process to stop: SIGINT, SIGTERM, and SIGHUP when its terminal goes away."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SignalHandler = Callable[[int, FrameType | None], object]

EXIT_INTERRUPTED = 130

#: Whether the program was started with SIGHUP ignored, as by ``nohup``.
_IGNORED = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
#: Those of standard input, output and error that are a terminal.
_TERMINAL_FDS = [fd for fd in range(3) if os.isatty(fd)]


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt once, at the first SIGINT, SIGTERM or SIGHUP."""
    interrupted = False

    def interrupt(_number: int) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    undo = on_stop_signal(interrupt)
    try:
        yield
    finally:
        undo()


def on_stop_signal(stop: Callable[[int], None]) -> Callable[[], None]:
    """Call ``stop`` with the number of the signal; return what restores the handlers.

    The second SIGINT or SIGTERM ends the process at once: its attempts stay recorded as sending,
    and recovery marks them in doubt. SIGHUP may come several times when a terminal goes away, so
    it never does that.
    """
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        detach_terminal()
        if number != signal.SIGHUP:
            if asked:
                os._exit(EXIT_INTERRUPTED)
            asked = True
        stop(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    undo_sighup = handle_sighup(handle)

    def undo() -> None:
        undo_sighup()
        for number, handler in before.items():
            signal.signal(number, handler)

    return undo


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


def forbid_nesting(number: int) -> None:
    """Ignore the signal while its handler runs.

    Celery's handler takes locks: a second signal within it would wait for the first for ever. A
    signal without a handler keeps its default.
    """
    handler, is_running = signal.getsignal(number), False
    if not callable(handler):
        return

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal is_running
        if is_running:
            return
        is_running = True
        try:
            handler(number, frame)
        finally:
            is_running = False

    signal.signal(number, handle)


def detach_terminal() -> None:
    """Redirect a closed terminal to the null device: writing to it would raise."""
    for fd in _TERMINAL_FDS:
        if not os.isatty(fd):
            with suppress(OSError):
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, fd)
                os.close(null)
