"""Servers for one test, on free ports and in temporary folders, that can be killed and restarted."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest
from redis import Redis, RedisError

from tests.acceptance.stage import until


def absent(why: str) -> NoReturn:
    """Skip at a desk; in CI a server that is not there is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    raise AssertionError


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


class Served:
    """A server process in a folder that is gone with it."""

    name: str

    def __init__(self) -> None:
        self.port = free_port()
        # Where another user can get to, as in pytest's folders nobody can.
        self.folder = Path(tempfile.mkdtemp(prefix=f"archon-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> tuple[list[str], Mapping[str, str], str | None]:
        """The command line, what it needs in its environment, and whom to be."""
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        line, environment, user = self.command()
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                line, cwd=self.folder, env={**os.environ, **environment}, user=user,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        until(self._is_there, 120)

    def _is_there(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "output").read_text()
        return self.answers()

    def tell(self, number: int) -> None:
        """Send it to the whole server."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(self._process.pid, number)
                else:
                    self._process.send_signal(number)
            self._process.wait(60)
            self._process = None


class RedisServer(Served):
    """Without persistence, as a broker may be: a restart forgets everything."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> Redis:
        return Redis.from_url(self.url, socket_connect_timeout=2)

    def command(self) -> tuple[list[str], Mapping[str, str], str | None]:
        program = shutil.which("redis-server") or absent("no redis-server on this machine")
        line = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        return line, {}, None

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False


class TlsRedisServer(RedisServer):
    """It talks to nobody who does not encrypt; its certificate is its own authority."""

    name = "tls"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def url(self) -> str:
        trust = f"ssl_cert_reqs=required&ssl_ca_certs={self.certificate}"
        return f"rediss://127.0.0.1:{self.port}/0?{trust}"

    def command(self) -> tuple[list[str], Mapping[str, str], str | None]:
        line, environment, user = super().command()
        key = self.folder / "key.pem"
        openssl = shutil.which("openssl") or absent("no openssl on this machine")
        subprocess.run(
            [
                openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                "-keyout", key, "-out", self.certificate,
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        line[line.index("--port") + 1] = "0"
        encrypt = {
            "--tls-port": str(self.port),
            "--tls-cert-file": str(self.certificate),
            "--tls-key-file": str(key),
            "--tls-ca-cert-file": str(self.certificate),
            "--tls-auth-clients": "no",
        }
        return [*line, *(word for pair in encrypt.items() for word in pair)], environment, user

    def start(self) -> None:
        try:
            super().start()
        except AssertionError:
            if "Bad directive" in (self.folder / "output").read_text():
                absent("the redis-server of this machine was built without TLS")
            raise


class RabbitServer(Served):
    """A node of its own; what it was told to keep outlives a restart."""

    name = "rabbit"

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> tuple[list[str], Mapping[str, str], str | None]:
        programs = sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))
        if not programs:
            absent("no rabbitmq-server on this machine")
        user = "rabbitmq" if os.geteuid() == 0 else None
        if user:
            shutil.chown(self.folder, user)
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].")
        return (
            [str(programs[-1])],
            {
                "HOME": str(self.folder),
                "RABBITMQ_NODENAME": f"archon{self.port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(self.port),
                "RABBITMQ_DIST_PORT": str(free_port()),
                "RABBITMQ_MNESIA_BASE": str(self.folder),
                "RABBITMQ_LOG_BASE": str(self.folder),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
                "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
                # Spinning schedulers would take the machine from everybody else.
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            },
            user,
        )

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            # An AMQP server answers to what is no protocol of its with its own.
            connection.settimeout(5)
            connection.sendall(b"AMQP\x00\x00\x00\x00")
            return connection.recv(4) == b"AMQP"
        return False


class PostgresServer(Served):
    name = "postgres"

    def __init__(self) -> None:
        super().__init__()
        homes = [Path(p).parent for p in [shutil.which("initdb")] if p]
        homes += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not homes:
            absent("no initdb on this machine")
        self._home = homes[-1]
        # Postgres refuses to be run by root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        subprocess.run(
            [
                self._home / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust",
                "-N", "--no-instructions", "-E", "UTF8", "--locale", "C",
            ],
            user=self._user, cwd="/", check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> tuple[list[str], Mapping[str, str], str | None]:
        line = [
            str(self._home / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
        ]  # fmt: skip
        return line, {}, self._user

    def answers(self) -> bool:
        ready = [str(self._home / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def restart_immediately(self) -> None:
        """As ``pg_ctl restart -m immediate``: no connection is told, nothing is written out."""
        self.stop(signal.SIGQUIT)
        self.start()


@contextmanager
def serving(*servers: Served) -> Iterator[None]:
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.stop()
            shutil.rmtree(server.folder, ignore_errors=True)
