"""Calls in flight fit the limit of open files, and a lower number is logged."""

import resource
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from archon_batch import cli
from archon_batch.engine import open_files


@pytest.fixture
def limits(monkeypatch):
    """A fake limit of open files."""
    held = [1024, 4096]

    def change(_kind, pair):
        endless = resource.RLIM_INFINITY
        if pair[1] != held[1] or pair[0] > pair[1] != endless:
            raise ValueError
        held[:] = pair

    monkeypatch.setattr(resource, "getrlimit", lambda _kind: tuple(held))
    monkeypatch.setattr(resource, "setrlimit", change)
    return held


@pytest.mark.parametrize(
    ("limit", "most", "fit", "raised"),
    [
        (1024, 4096, 128, 1024),
        (64, 4096, 128, 192),
        (64, resource.RLIM_INFINITY, 128, 192),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 128, resource.RLIM_INFINITY),
        (64, 150, 86, 150),
        (64, 64, 24, 64),
        (3, 3, 2, 3),
    ],
)
def test_the_limit_is_raised_as_far_as_allowed_and_the_calls_fit(limits, limit, most, fit, raised):
    limits[:] = [limit, most]

    with capture_logs() as logs:
        assert open_files.fit_to_open_files(128) == fit

    assert limits[0] == raised
    assert [log["in_flight"] for log in logs] == ([] if fit == 128 else [fit])


def test_too_many_open_files_are_reported_as_such(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(cli.archon_batch, "main", full)
    with pytest.raises(SystemExit):
        cli.main(["jobs"])

    assert capsys.readouterr().err == "error: too many files are open: raise ulimit -n\n"


END = """
import sys
from collections import defaultdict
from archon_batch.cli.progress import print_summary
from archon_batch.cli.tables import preload_rich, stderr
if sys.argv[1:]:
    preload_rich()
before = set(sys.modules)
stderr.print("stopping", style="bold")
print_summary(defaultdict(int, state="paused", reason="x", budget_usd=None, overbilling=()))
print(len(set(sys.modules) - before))
"""


@pytest.mark.slow
def test_the_imports_of_a_command_s_end_are_preloaded():
    def imported(*arguments):
        line = [sys.executable, "-c", END, *arguments]
        ended = subprocess.run(line, capture_output=True, text=True, check=True)
        return int(ended.stdout)

    assert imported() > 0
    assert imported("prepared") == 0
