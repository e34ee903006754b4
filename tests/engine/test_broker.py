"""What a broker refuses is told with what would do, and never with a password or a message."""

import errno
import shutil
import subprocess

import pytest
from kombu import Connection, Exchange, Queue

from archon_batch.engine import broker
from archon_batch.errors import BrokerBusyError, BrokerError, BrokerUnavailableError
from tests.acceptance.servers import RedisServer, absent, serving

pytestmark = pytest.mark.redis


def refused(url, **more):
    """What comes of declaring a queue there and sending a message."""
    with Connection(url, **more) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            with connection.channel() as channel:
                Queue("joins", Exchange("joins"), "joins")(channel).declare()
                connection.Producer(channel).publish({"secret": "prompt"}, routing_key="joins")
        except Exception as error:  # noqa: BLE001
            return broker.to_broker_error(error, connection.as_uri())
    pytest.fail("it was not refused")


#: What Redis is told, by whom it is reached, what is raised, and what would do.
FAULTS = {
    "full": (["config set maxmemory 1mb"], "", BrokerBusyError, "raise maxmemory"),
    "read-only": (["replicaof 127.0.0.1 1"], "", BrokerBusyError, "put the primary"),
    "no right": (["acl setuser default -@write"], "", BrokerError, "give its user the permissions"),
    "no password": (["config set requirepass word"], "", BrokerError, "correct user and password"),
    "a wrong one": (["config set requirepass word"], ":other@", BrokerError, "correct user and"),
    "too many": (["config set maxclients 1"], "", BrokerBusyError, "raise maxclients"),
    "no such database": ([], "", BrokerError, "correct the database's number"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_redis_that_refuses_is_told_with_what_would_do(fault):
    told, login, kind, hint = FAULTS[fault]
    with serving(server := RedisServer()), server.client as client:
        for line in told:
            client.execute_command(*line.split())
        url = f"redis://{login}127.0.0.1:{server.port}/{99 if 'database' in fault else 0}"
        error = refused(url)

    assert type(error) is kind
    assert hint in str(error)
    assert f"127.0.0.1:{server.port}" in str(error)
    assert not [word for word in ("other@", "prompt", "joins") if word in str(error)]


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
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
def test_what_cannot_be_played_is_known_by_its_words(said, kind, hint):
    error = broker.to_broker_error(ValueError(said), "redis://:**@broker:6379/0")

    assert type(error) is kind
    assert hint in str(error)


def test_few_open_files_are_not_blamed_on_the_broker():
    error = broker.to_broker_error(OSError(errno.EMFILE, "Too many open files"), "redis://broker/0")

    assert "raise ulimit -n" in str(error)


def test_a_broker_that_is_not_there_is_away():
    assert type(refused("redis://127.0.0.1:1/0")) is BrokerUnavailableError
    assert type(refused("amqp://guest:guest@127.0.0.1:1//")) is BrokerUnavailableError


@pytest.mark.parametrize(
    ("login", "host", "hint"),
    [
        ("guest:word", "", "correct user and password"),
        ("guest:guest", "nowhere", "add the virtual host"),
    ],
)
def test_a_rabbitmq_that_refuses_is_told_with_what_would_do(login, host, hint):
    control = shutil.which("rabbitmqctl") or absent("no RabbitMQ on this machine")
    if subprocess.run([control, "-q", "status"], capture_output=True, check=False).returncode:
        absent("RabbitMQ does not run here")

    error = refused(f"amqp://{login}@127.0.0.1:5672/{host}")

    assert type(error) is BrokerError
    assert hint in str(error)
    assert "word" not in str(error).replace("password", "")


def test_what_passes_is_waited_for_and_what_stays_is_not(monkeypatch):
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
