"""Errors of a broker come with a remedy, and never with a password or the text of a message."""

import errno
import shutil
import subprocess

import pytest
from kombu import Connection, Exchange, Queue

from archon_batch.engine import broker
from archon_batch.errors import BrokerBusyError, BrokerError, BrokerUnavailableError
from tests.acceptance.servers import RedisServer, absent, serving

pytestmark = pytest.mark.redis


def broker_error(url, **more):
    """What comes of declaring a queue there and sending a message."""
    with Connection(url, **more) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            with connection.channel() as channel:
                Queue("joins", Exchange("joins"), "joins")(channel).declare()
                connection.Producer(channel).publish({"secret": "prompt"}, routing_key="joins")
        except Exception as error:  # noqa: BLE001
            return broker.to_broker_error(error, connection.as_uri())
    pytest.fail("the broker accepted it")


#: Commands that break Redis, the login, the error that is raised, and its hint.
FAULTS = {
    "full": (["config set maxmemory 1mb"], "", BrokerBusyError, "raise maxmemory"),
    "read-only": (["replicaof 127.0.0.1 1"], "", BrokerBusyError, "put the primary"),
    "no permission": (
        ["acl setuser default -@write"],
        "",
        BrokerError,
        "give its user the permissions",
    ),
    "no password": (["config set requirepass word"], "", BrokerError, "correct user and password"),
    "a wrong password": (
        ["config set requirepass word"],
        ":other@",
        BrokerError,
        "correct user and",
    ),
    "too many": (["config set maxclients 1"], "", BrokerBusyError, "raise maxclients"),
    "no such database": ([], "", BrokerError, "correct the database's number"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_of_redis_comes_with_its_remedy(fault):
    commands, login, kind, hint = FAULTS[fault]
    with serving(server := RedisServer()), server.client as client:
        for command in commands:
            client.execute_command(*command.split())
        url = f"redis://{login}127.0.0.1:{server.port}/{99 if 'database' in fault else 0}"
        error = broker_error(url)

    assert type(error) is kind
    assert hint in str(error)
    assert f"127.0.0.1:{server.port}" in str(error)
    assert not [word for word in ("other@", "prompt", "joins") if word in str(error)]


@pytest.mark.parametrize(
    ("message", "kind", "hint"),
    [
        ("LOADING Redis is loading the dataset in memory", BrokerBusyError, "it is starting"),
        ("MISCONF Redis is configured to save RDB snapshots", BrokerBusyError, "make room"),
        ("MASTERDOWN Link with MASTER is down", BrokerBusyError, "unavailable"),
        ("CLUSTERDOWN Hash slot not served", BrokerError, "standalone Redis"),
        ("MOVED 3999 127.0.0.1:6381", BrokerError, "standalone Redis"),
        ("DENIED Redis is running in protected mode", BrokerError, "only local connections"),
        (
            "(406) PRECONDITION_FAILED - inequivalent arg 'x-max-priority'",
            BrokerError,
            "delete the queue",
        ),
        (
            "(405) RESOURCE_LOCKED - cannot obtain exclusive access",
            BrokerBusyError,
            "exclusively",
        ),
        ("(320) CONNECTION_FORCED - broker forced connection closure", BrokerBusyError, "stopping"),
        (
            "[SSL: WRONG_VERSION_NUMBER] wrong version number",
            BrokerError,
            "rediss:// or amqps:// with TLS",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", BrokerError, "not trusted"),
    ],
)
def test_errors_that_cannot_be_provoked_are_recognised_by_their_message(message, kind, hint):
    error = broker.to_broker_error(ValueError(message), "redis://:**@broker:6379/0")

    assert type(error) is kind
    assert hint in str(error)


def test_too_many_open_files_are_not_blamed_on_the_broker():
    error = broker.to_broker_error(OSError(errno.EMFILE, "Too many open files"), "redis://broker/0")

    assert "raise ulimit -n" in str(error)


def test_a_missing_broker_is_unavailable():
    assert type(broker_error("redis://127.0.0.1:1/0")) is BrokerUnavailableError
    assert type(broker_error("amqp://guest:guest@127.0.0.1:1//")) is BrokerUnavailableError


@pytest.mark.parametrize(
    ("login", "host", "hint"),
    [
        ("guest:word", "", "correct user and password"),
        ("guest:guest", "nowhere", "add the virtual host"),
    ],
)
def test_an_error_of_rabbitmq_comes_with_its_remedy(login, host, hint):
    control = shutil.which("rabbitmqctl") or absent("no RabbitMQ on this machine")
    if subprocess.run([control, "-q", "status"], capture_output=True, check=False).returncode:
        absent("RabbitMQ does not run here")

    error = broker_error(f"amqp://{login}@127.0.0.1:5672/{host}")

    assert type(error) is BrokerError
    assert hint in str(error)
    assert "word" not in str(error).replace("password", "")


def test_a_transient_error_is_waited_for_and_a_permanent_one_is_not(monkeypatch):
    monkeypatch.setattr(broker, "_RETRY_INTERVAL", 0.0)
    tries = []

    def full_at_first():
        tries.append(1)
        if len(tries) < 3:
            raise BrokerBusyError("redis://broker", "full")
        return "sent"

    assert broker.retry_while_busy(full_at_first) == "sent"
    with pytest.raises(BrokerError, match="login"):
        broker.retry_while_busy(
            lambda: (_ for _ in ()).throw(BrokerError("redis://broker", "login"))
        )
    monkeypatch.setattr(broker, "_GIVE_UP_AFTER", 0.0)
    tries.clear()
    with pytest.raises(BrokerBusyError):
        broker.retry_while_busy(full_at_first)
