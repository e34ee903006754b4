"""``python -m archon_batch.engine.ping calls-1``: whether a worker of that name answers on this host."""

import socket
import sys

from archon_batch.engine.app import app

#: Seconds that it may take.
_TIMEOUT = 15


def worker_responds(name: str) -> bool:
    """Ask it by the broker, as anybody would; the end of its full name is its process id."""
    pattern = f"{name}@{socket.gethostname()}.*"
    asked = app.control.inspect(
        pattern=pattern,
        matcher="glob",  # type: ignore[arg-type]
        limit=1,
        timeout=_TIMEOUT,
    )
    return bool(asked.ping())


if __name__ == "__main__":
    sys.exit(0 if worker_responds(sys.argv[1]) else 1)
