"""Events of a use case as lines on standard error."""

import pytest

from archon_batch.application import events
from archon_batch.application.run import RunResult
from archon_batch.cli.progress import EventPrinter, result_status
from tests.builders import a_job


def test_a_handover_says_where_to_look_and_that_no_worker_is_there(store, capsys):
    job = a_job(store)

    with EventPrinter() as report:
        report(events.NoWorkers(["calls", "joins"]))
        report(events.JobHandedOver(job))

    printed = " ".join(capsys.readouterr().err.split())
    assert printed.startswith("no worker consumes calls, joins: ")
    assert printed.endswith(f"archon-batch status {job.id} --follow")


@pytest.mark.parametrize(
    ("state", "failed_rows", "status"),
    [
        ("done", 0, 0),
        ("done", 3, 1),
        ("handed_over", 0, 0),
        ("stored", 0, 0),
        ("cancelled", 0, 1),
        ("stopped", 0, 2),
        ("paused", 0, 4),
        ("interrupted", 0, 130),
    ],
)
def test_each_state_of_a_run_has_its_exit_status(state, failed_rows, status):
    assert result_status(RunResult("job", state, failed_rows)) == status
