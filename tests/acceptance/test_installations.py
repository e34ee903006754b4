"""Two databases on one broker: neither takes messages of the other."""

import sys
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage, until
from tests.acceptance.test_faults import rabbit_url  # noqa: F401  (a fixture)
from tests.fork_server import Popen

ONE = (
    "models: {m: {model: scripted/plausible}}\nlayers: [{type: generator, model: m, samples: 2}]\n"
)
POOL = "queues: [calls, joins]\nconcurrency: 4\n"
ROWS = 12


def a_stage(folder: Path, broker: str) -> Stage:
    folder.mkdir()
    stage = Stage(folder, ARCHON_BATCH_BROKER_URL=broker)
    stage.dataset(ROWS)
    stage.write("layered.yaml", ONE)
    return stage


def a_worker(stage: Stage, log: str) -> Popen[str]:
    """A pool of a file that others start as well."""
    pool = stage.write("pool.yaml", POOL)
    with (stage.folder / log).open("w") as out:
        return Popen(
            [sys.executable, "-m", "archon_batch", "worker", str(pool)],
            cwd=stage.folder, env=stage.environment, stdout=out, stderr=out,
        )  # fmt: skip


def workers(stage: Stage) -> list[str]:
    found = [line["detail"] for line in stage.json("doctor") if line["check"] == "workers"]
    return [text.partition(" consumes")[0] for text in found if " consumes calls, joins" in text]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "broker",
    [pytest.param("redis_url", marks=pytest.mark.redis), "rabbit_url"],
    ids=["redis", "rabbitmq"],
)
def test_two_installations_on_one_broker_do_their_own_work_and_a_pool_may_be_started_twice(
    tmp_path: Path, request: pytest.FixtureRequest, broker: str
) -> None:
    url = request.getfixturevalue(broker)
    one, other = a_stage(tmp_path / "one", url), a_stage(tmp_path / "other", url)
    submit = ("submit", "rows.jsonl", "--arch", "layered.yaml")
    jobs = {one.run(*submit).strip(), other.run(*submit).strip()}
    started = [a_worker(one, "first.log"), a_worker(one, "second.log")]
    try:
        one.run("status", *jobs, "--follow")
        untouched = other.json("status", *jobs)
        until(lambda: len(workers(one)) == 2, 100)
        names = workers(one)
        started.append(a_worker(other, "first.log"))
        other.run("status", *jobs, "--follow")
    finally:
        for worker in started:
            worker.terminate()
        statuses = [worker.wait(60) for worker in started]
    logs = "".join(path.read_text() for path in tmp_path.glob("*/*.log"))

    # The same rows make a job of the same id: nothing but the names keeps them apart.
    assert len(jobs) == 1
    assert (untouched["attempts"], untouched["open"]) == (0, ROWS)
    for stage in (one, other):
        found = stage.json("status", *jobs)
        assert (found["state"], found["answered"], found["attempts"]) == ("done", ROWS, 2 * ROWS)
    assert {name.partition("@")[0] for name in names} == {"pool-1"}
    assert len(set(names)) == 2
    assert statuses == [0, 0, 0]
    assert not [
        word
        for word in ("RESOURCE_LOCKED", "broker_refused", "lost_messages_resent")
        if word in logs
    ]
