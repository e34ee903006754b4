"""Canaries for keys, prompts and answers are searched for in all output."""

import base64
import json
import os
import re
import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from redis import Redis

from tests import provider
from tests.acceptance.stage import Stage, until
from tests.provider import ProviderServer

#: Of no shape that is known as a key's.
KEYS = {
    "OPENAI_API_KEY": "walrus7731openai",
    "ANTHROPIC_API_KEY": "walrus7732anthropic",
    "ARCHON_BATCH_KEY_127_0_0_1": "walrus7733numbers",
    "ARCHON_BATCH_KEY_LOCALHOST": "walrus7734name",
}
PASSWORD = "walrus7735password"  # noqa: S105
ASKED = ("umbrellabird", "zephyrlily", "жужелица")
SAID = "kookaburra"
WORDS = (*ASKED, SAID)
PROMPT = "Where does the Umbrellabird {n} hide its Zephyrlily, и где зимует Жужелица?"

#: What befalls the first requests of a row's first layer, row by row.
FAULTS = ("", "429", "500", "quotes", "cut", "garbage", "html", "elsewhere", "slow", "prose", "422")
ROWS = len(FAULTS)

ARCHITECTURE = """\
models:
  numbers: {{model: openai/one, api_base: "{numbers}", price: {{input: 1, output: 1}}}}
  name: {{model: hosted_vllm/two, api_base: "{name}", price: {{input: 1, output: 1}}}}
  own: {{model: openai/three, price: {{input: 1, output: 1}}}}
defaults: {{max_tokens: 64}}
layers:
  - - {{type: generator, model: numbers}}
    - {{type: generator, model: name}}
    - {{type: generator, model: own}}
  - {{type: fuser, model: numbers}}
"""

POOL = {"all.yaml": "queues: [calls, joins]\nconcurrency: 16\n"}

#: A component whose errors quote the row.
QUOTER = """
from typing import Literal
from archon_batch.archon import CountRange, Component

class Quoter(Component):
    type: Literal["quoter"]
    def run(self, context):
        try:
            raise KeyError(context.state.candidates[0].text)
        except KeyError as error:
            raise ValueError(f"cannot do with {context.question.query}") from error
        yield ()
    def call_count(self, candidates):
        return CountRange(0, 0)
    def output_count(self, candidates):
        return CountRange(candidates, candidates)
"""

_fault: ContextVar[str] = ContextVar("fault")


class Talker(ProviderServer):
    """A provider that quotes every request, and redirects to another host."""

    elsewhere = ""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        *_, ix, key, n = request.headers["X-Client-Request-Id"].split("/")
        prompt = asked["messages"][-1]["content"]
        fault = FAULTS[int(ix)] if key.startswith("0.") and n == "1" else ""
        fault = "stops" if "Forbidden" in prompt else fault
        quote = f"{prompt} with {request.headers.get('Authorization')} from {self.url}"
        _fault.set("401" if fault == "stops" else "400" if fault in {"quotes", "prose"} else fault)
        if fault == "elsewhere":
            raise web.HTTPTemporaryRedirect(self.elsewhere)
        response = await super()._handle(request)
        if fault == "prose":
            return web.Response(text=f"No JSON, and yet: {SAID}", content_type="application/json")
        if fault in {"quotes", "stops"}:
            error = {"message": f"Cannot read {quote!r}", "code": "bad", "type": "invalid"}
            return web.json_response({"error": error}, status=400 if fault == "quotes" else 401)
        return response

    def _fault(self, number: int) -> str:
        del number
        return _fault.get()


class Hosts(NamedTuple):
    numbers: Talker
    name: Talker
    own: Talker
    #: Where redirects point to.
    elsewhere: Talker


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    said = provider.reply_text
    monkeypatch.setattr(provider, "reply_text", lambda *given: f"{said(*given)} {SAID}")
    with ExitStack() as stack:
        talkers = [stack.enter_context(Talker(slow=30.0, retry_after="0")) for _ in Hosts._fields]
        found = Hosts(*talkers)
        for talker in talkers:
            talker.elsewhere = _by_name(found.elsewhere) + "/chat/completions"
        yield found


def _by_name(talker: Talker) -> str:
    """Its address on another host: a name is not the number that it stands for."""
    return talker.url.replace("127.0.0.1", "localhost")


class Watched(Stage):
    """A stage that keeps what its commands say."""

    def __init__(self, folder: Path, hosts: Hosts, *without: str, **environment: str) -> None:
        keys = {name: key for name, key in KEYS.items() if name not in without}
        own = {"OPENAI_BASE_URL": hosts.own.url, "LITELLM_LOG": "DEBUG", "OPENAI_LOG": "debug"}
        ours = {"CALL_TIMEOUT": "5", "LOG": "debug", "SPOOL": str(folder / "spool")}
        ours = {f"ARCHON_BATCH_{name}": text for name, text in ours.items()}
        super().__init__(folder, **own, **keys, **ours, **environment)
        self.printed: list[str] = []
        self.logged: list[str] = []
        rows = [
            {"id": f"q{n}", "prompt": PROMPT.format(n=n), "of": "Zephyrlily"} for n in range(ROWS)
        ]
        self.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        text = ARCHITECTURE.format(numbers=hosts.numbers.url, name=_by_name(hosts.name))
        self.write("layered.yaml", text)

    def does(self, *arguments: str, told: bool = False, status: int | None = 0) -> str:
        """Run a command; ``told`` means that it prints prompts and answers on purpose."""
        command = self.start(*arguments)
        out, err = command.communicate(timeout=100)
        self.logged.append(err)
        self.printed.append(out)
        assert status in (None, command.returncode), (
            f"{arguments}: {command.returncode}\n{out}\n{err}"
        )
        assert told or not _slips([out], WORDS), arguments
        assert not told or _slips([out], WORDS), f"{arguments}: the search finds nothing"
        return out

    def looks(self, job: str) -> None:
        """Every command that shows a job."""
        # Whether a worker is there is no matter.
        self.does("doctor", status=None)
        for line in ("jobs", f"status {job} --json", f"cost {job} --by model"):
            self.does(*line.split())
        self.does("show", job, "q3", "--full", told=True)

    def refuse_slips(self) -> None:
        assert not _slips(self.printed, _keys())
        assert not _slips(self.logged, (*_keys(), *WORDS))


def _keys() -> tuple[str, ...]:
    return (*KEYS.values(), PASSWORD)


def _slips(texts: Sequence[str], words: Sequence[str]) -> list[str]:
    """Where a word stands in a text as it is, or in JSON or base64 in it."""
    found = []
    for text in texts:
        # Celery packs a message's body so.
        packed = re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text)
        # Other long words look alike; one letter too many is none of base64's.
        cut = [some[: len(some) - (len(some) % 4 == 1)] for some in packed]
        inner = [base64.b64decode(some + "===").decode("utf-8", "replace") for some in cut]
        whole = " ".join([text, *inner])
        whole = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), whole).lower()
        found += [whole[max(0, whole.find(w) - 300) :][:400] for w in words if w in whole]
    return found


def _refuse_wrong_keys(hosts: Hosts, name: str | None) -> None:
    wanted = (KEYS["ARCHON_BATCH_KEY_127_0_0_1"], name, KEYS["OPENAI_API_KEY"])
    for talker, key in zip(hosts[:3], wanted, strict=True):
        assert talker.request_count
        assert {headers.get("Authorization") for headers, _ in talker.recent_requests} == {
            key and f"Bearer {key}"
        }
        others = [
            f"{header}: {value}"
            for headers, _ in talker.recent_requests
            for header, value in headers.items()
            if header != "Authorization"
        ]
        assert not _slips(others, (*_keys(), *WORDS))
    assert hosts.elsewhere.request_count == 0


def _refuse_quotations(whys: Sequence[str | None]) -> None:
    """Stored errors quote nothing either, although prompts are stored beside them."""
    told = [why for why in whys if why]
    assert any("400" in why for why in told)
    assert any("307" in why for why in told)
    assert not _slips(told, (*_keys(), *WORDS))


_WHYS = (
    "SELECT detail FROM attempts UNION ALL SELECT failure FROM calls "
    "UNION ALL SELECT reason FROM items UNION ALL SELECT reason FROM jobs "
    "UNION ALL SELECT CAST(warnings AS TEXT) FROM items"
)


@pytest.mark.timeout(180)
def test_one_machine_discloses_no_key_no_prompt_and_no_answer(tmp_path: Path, hosts: Hosts) -> None:
    # No key is bound to the host that has a name.
    unbound = "ARCHON_BATCH_KEY_LOCALHOST"
    stage = Watched(tmp_path, hosts, unbound, ARCHON_BATCH_LOG_FORMAT="json")
    quoter = tmp_path / "quoter" / "quoter-1.dist-info"
    quoter.mkdir(parents=True)
    (quoter / "METADATA").write_text("Name: quoter\nVersion: 1\n")
    (quoter / "entry_points.txt").write_text("[archon_batch.components]\nquoter = quoter:Quoter\n")
    (quoter.parent / "quoter.py").write_text(QUOTER)
    stage.environment["PYTHONPATH"] = str(quoter.parent)
    stage.write(
        "quoter.yaml",
        "layers: [{type: generator, model: scripted/plausible}, {type: quoter}]\n",
    )
    stage.write("bad.jsonl", json.dumps({"prompt": [PROMPT]}) + "\n" + PROMPT)

    first = stage.start("try", f"Forbidden: {PROMPT}", "--arch", "layered.yaml")
    submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "nightly")
    job = stage.does(*submit, "-o", "out.jsonl", status=1).strip()
    said, err = first.communicate(timeout=100)
    stage.does("submit", "bad.jsonl", "--arch", "layered.yaml", status=2)
    skipping = ("submit", "bad.jsonl", "--arch", "quoter.yaml", "--skip-bad-rows")
    stage.does(*skipping, status=1)
    stage.does("submit", "rows.jsonl", "--arch", "quoter.yaml", status=2)
    stage.looks(job)

    assert first.returncode == 2
    assert _slips([said], ASKED)
    stage.printed.append(said)
    stage.logged.append(err)
    assert '"event": "job_halted"' in err
    assert '"event": "attempt_failed"' in stage.logged[0]
    stage.refuse_slips()
    _refuse_wrong_keys(hosts, None)
    exported = (tmp_path / "out.jsonl").read_text()
    assert _slips([exported], [SAID])
    kept = [path.read_bytes().decode("latin-1") for path in tmp_path.glob("archon-batch.db*")]
    assert not _slips([exported, *kept], _keys())
    with closing(sqlite3.connect(tmp_path / "archon-batch.db")) as database:
        _refuse_quotations([why for (why,) in database.execute(_WHYS)])
    made = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    ours = {"rows.jsonl", "bad.jsonl", "layered.yaml", "quoter.yaml", "quoter", "out.jsonl"}
    assert {name for name in made - ours if not name.startswith("archon-batch.db")} <= {"spool"}


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(180)
def test_many_machines_disclose_no_key_no_prompt_and_no_answer(
    tmp_path: Path, hosts: Hosts, redis_url: str, postgres_url: str
) -> None:
    psycopg = pytest.importorskip("psycopg")
    address = postgres_url.replace("postgresql+psycopg", "postgresql")
    broker = redis_url.replace("//", f"//:{PASSWORD}@")
    stage = Watched(
        tmp_path,
        hosts,
        ARCHON_BATCH_BROKER_URL=broker,
        ARCHON_BATCH_DATABASE_URL=postgres_url.replace("@", f":{PASSWORD}@"),
    )
    # Nobody drains the queues yet.
    stage.does("doctor", status=3)
    with psycopg.connect(address, autocommit=True) as database, _overheard(redis_url) as heard:
        # An end that the database refuses: Postgres quotes the row, and Celery tries again.
        database.execute(
            "ALTER TABLE items ADD CONSTRAINT no_end CHECK (status <> 'answered' OR ix > 0)"
        )
        submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "nightly")
        job = stage.does(*submit).strip()
        worker = stage.start("worker", str(stage.write(*next(iter(POOL.items())))))
        try:
            until(lambda: _slips(heard.copy(), ["task-retried"]), 60)
            commands = [_text(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
            children = _text(Path(f"/proc/{worker.pid}/task/{worker.pid}/children"))
            os.kill(int(children.split()[0]), signal.SIGKILL)
            database.execute("ALTER TABLE items DROP CONSTRAINT no_end")
            stage.does("resume", job, "--follow", status=1)
        finally:
            worker.send_signal(signal.SIGTERM)
            out, err = worker.communicate(timeout=60)
        stage.printed.append(out)
        stage.logged += [out, err]
        stage.looks(job)
        stage.does("export", job, "-o", "-", told=True)
        tables = database.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        dump = [str(database.execute(f"SELECT * FROM {name}").fetchall()) for (name,) in tables]  # noqa: S608
        whys = [why for (why,) in database.execute(_WHYS).fetchall()]

    assert "worker_died" in err
    stage.refuse_slips()
    assert any(job in text for text in heard), "the search finds nothing"
    assert not _slips(heard, (*_keys(), *WORDS))
    assert not _slips(commands, (*_keys(), *WORDS))
    assert _slips(dump, [SAID])
    assert not _slips(dump, _keys())
    _refuse_quotations(whys)
    _refuse_wrong_keys(hosts, KEYS["ARCHON_BATCH_KEY_LOCALHOST"])


def _text(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""  # it has ended


@contextmanager
def _overheard(url: str) -> Iterator[list[str]]:
    """All that is sent to a Redis database: keys, values, messages and events."""
    heard: list[str] = []
    with closing(Redis.from_url(url, socket_timeout=None)) as server:
        number = server.connection_pool.connection_kwargs["db"]
        ready = threading.Event()

        def listen() -> None:
            with server.monitor() as monitor:
                ready.set()
                for entry in monitor.listen():
                    if "that is all" in entry["command"]:
                        return
                    if entry["db"] in (number, "lua", 0):
                        heard.append(entry["command"])

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield heard
        finally:
            server.echo("that is all")
            thread.join(timeout=10)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("BROKER_URL", "redis://:walrus/7735@127.0.0.1:1/0"),
        ("BROKER_URL", "redis://:walrus#7735@127.0.0.1:1/0"),
        ("BROKER_URL", "redis://:walrus7735@127.0.0.1:1/0"),
        ("DATABASE_URL", "postgresql+psycopg://u:me@walrus7735@127.0.0.1:1/d"),
        ("DATABASE_URL", "postgresql+psycopg://u:walrus7735@127.0.0.1:1/d"),
        ("DATABASE_URL", "postgresql+psycopg://127.0.0.1:1/d?password=walrus7735"),
        ("DATABASE_URL", "postgresql://u:walrus7735@127.0.0.1:1/d"),
    ],
)
def test_an_error_about_an_address_does_not_quote_its_password(
    tmp_path: Path, variable: str, url: str
) -> None:
    stage = Stage(tmp_path, **{f"ARCHON_BATCH_{variable}": url})

    command = stage.start("doctor")
    said = "".join(command.communicate(timeout=60))

    assert command.returncode in {2, 3}
    assert not re.search("walrus|7735", said), said
