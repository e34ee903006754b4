"""A Redis behind two kernel links, of which one can be cut silently.

It runs in a network namespace and needs root and iproute2. ``cut_link`` cuts the second address:
packets vanish without an error, as if a cable was pulled.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.acceptance.servers import RedisServer

#: Addresses of the two links, ours first; the network 198.18.0.0/15 is reserved for benchmarks.
_LINKS = (("198.18.200.1", "198.18.200.2"), ("198.18.200.5", "198.18.200.6"))


def why_unavailable() -> str | None:
    """Why links cannot be created on this machine; None if they can."""
    if os.geteuid() != 0:
        return "needs root, for a network namespace"
    return None if shutil.which("ip") else "needs the program ip, of iproute2"


class CuttableRedis(RedisServer):
    """A Redis in a network namespace."""

    def __init__(self) -> None:
        super().__init__()
        self._space = f"archon-{os.getpid()}"
        #: The interface names of each link: outside and inside the namespace.
        self._ends = [(f"ab{os.getpid()}h{n}", f"ab{os.getpid()}n{n}") for n in range(len(_LINKS))]

    @property
    def url(self) -> str:
        return f"redis://{_LINKS[0][1]}:{self.port}/0"

    @property
    def url_by_cuttable_link(self) -> str:
        """The URL over the link that can be cut."""
        return f"redis://{_LINKS[1][1]}:{self.port}/0"

    def command(self) -> tuple[list[str], Mapping[str, str], str | None]:
        line, environment, user = super().command()
        place = line.index("--bind")
        # No other process is in the namespace.
        bind = ["--bind", *(far for _, far in _LINKS), "--protected-mode", "no"]
        line[place : place + 2] = bind
        return ["ip", "netns", "exec", self._space, *line], environment, user

    @contextmanager
    def network_namespace(self) -> Iterator[None]:
        """Create the namespace and its links; delete them at the end."""
        _ip("netns", "add", self._space)
        try:
            for (near, far), (here, there) in zip(_LINKS, self._ends, strict=True):
                _ip("link", "add", here, "type", "veth", "peer", "name", there)
                _ip("link", "set", there, "netns", self._space)
                _ip("addr", "add", f"{near}/30", "dev", here)
                _ip("link", "set", here, "up")
                self._ip_in_namespace("addr", "add", f"{far}/30", "dev", there)
                self._ip_in_namespace("link", "set", there, "up")
            yield
        finally:
            # This deletes the links too.
            _ip("netns", "del", self._space)

    def cut_link(self) -> None:
        here, there = self._ends[1]
        # With a permanent neighbour entry the kernel does not notice and report the cut.
        address = self._ip_in_namespace("-br", "link", "show", "dev", there).split()[2]
        _ip("neigh", "replace", _LINKS[1][1], "lladdr", address, "dev", here, "nud", "permanent")
        self._ip_in_namespace("link", "set", there, "down")

    def restore_link(self) -> None:
        here, there = self._ends[1]
        self._ip_in_namespace("link", "set", there, "up")
        _ip("neigh", "del", _LINKS[1][1], "dev", here)

    def _ip_in_namespace(self, *words: str) -> str:
        return _ip("-netns", self._space, *words)


def _ip(*words: str) -> str:
    command = [shutil.which("ip") or "ip", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
