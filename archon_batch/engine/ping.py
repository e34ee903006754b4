"""``python -m archon_batch.engine.ping calls-1``: whether that worker responds on this host."""

import socket
import sys

from archon_batch.engine.app import app

#: Seconds to wait for a reply.
_TIMEOUT = 15


def worker_responds(name: str) -> bool:
    """Ping the worker through the broker; its full name ends with its process id."""
    pattern = f"{name}@{socket.gethostname()}.*"
    inspect = app.control.inspect(
        pattern=pattern,
        matcher="glob",  # type: ignore[arg-type]
        limit=1,
        timeout=_TIMEOUT,
    )
    return bool(inspect.ping())


if __name__ == "__main__":
    sys.exit(0 if worker_responds(sys.argv[1]) else 1)
