"""The spool: ends of attempts that the database was not there to take, as files on this machine.

An answer that has reached us is paid for. While the database is away it is kept here, whole and on
the disk, and taken in when the database is back.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from archon_batch import private_files
from archon_batch.archon import CallKey, Reply, Usage
from archon_batch.errors import Billing
from archon_batch.money import NanoUsd
from archon_batch.store.attempts import AttemptRequest, AttemptResult, CallId

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Spool:
    folder: Path

    @classmethod
    def for_database(cls, root: Path, database: str) -> "Spool":
        """The part of a spool that is for the database of that name."""
        return cls(root / hashlib.sha256(database.encode()).hexdigest()[:16])

    @property
    def quarantine(self) -> "Spool":
        """Where ends are that nothing on record takes: for a person to look at."""
        return Spool(self.folder / "aside")

    def write(self, results: Sequence[AttemptResult], name: str | None = None) -> None:
        """Write the ends down; when this returns, they survive a loss of power.

        What has the ``name`` already is replaced, so that it is safe to do again.

        Raises:
            OSError: they cannot be written.
        """
        private_files.make_private_dir(self.folder)
        word = secrets.token_hex(8)
        draft, whole = self.folder / f"{word}.draft", self.folder / f"{name or word}.json"
        try:
            with private_files.open_private(draft, "x", encoding="ascii") as file:
                json.dump([_result_to_json(finish) for finish in results], file)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(whole)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read_all(self) -> Iterator[tuple[Path, list[AttemptResult]]]:
        """The files with what is in them; one that cannot be read is put aside and told of."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                finishes = [_result_from_json(plain) for plain in json.loads(path.read_bytes())]
            except FileNotFoundError:
                continue  # another process has taken it in
            except (ValueError, KeyError, TypeError):
                path.rename(path.with_suffix(".unreadable"))
                _log.error("spooled_results_unreadable", file=str(path.with_suffix(".unreadable")))
                continue
            yield path, finishes

    def problems(self) -> Iterator[str]:
        """What nobody but a person can do something about."""
        for folder, glob, what in (
            (self.quarantine.folder, "*.json", "with ends that the ledger could not take in whole"),
            (self.folder, "*.unreadable", "that cannot be read"),
        ):
            if files := len(list(folder.glob(glob))):
                yield f"{folder} has {files} file{'s' * (files > 1)} {what}"


def _result_to_json(finish: AttemptResult) -> dict[str, Any]:
    start = finish.request
    return {
        **asdict(finish),
        "request": {
            **asdict(start),
            "call": [start.call.job_id, start.call.ix, str(start.call.key)],
            "begun_at": start.begun_at.isoformat(),
        },
        "billing": finish.billing.value,
        "ended_at": finish.ended_at.isoformat(),
    }


def _result_from_json(plain: dict[str, Any]) -> AttemptResult:
    start = plain["request"]
    job, ix, key = start["call"]
    reply = plain["reply"]
    return AttemptResult(
        request=AttemptRequest(
            **{
                **start,
                "call": CallId(job, ix, CallKey.parse(key)),
                "begun_at": datetime.fromisoformat(start["begun_at"]),
            }
        ),
        attempt_number=plain["attempt_number"],
        billing=Billing(plain["billing"]),
        outcome=plain["outcome"],
        detail=plain["detail"],
        usage=Usage(**plain["usage"]),
        cost=None if plain["cost"] is None else NanoUsd(plain["cost"]),
        estimated=plain["estimated"],
        reply=None if reply is None else Reply(**{**reply, "usage": Usage(**reply["usage"])}),
        ended_at=datetime.fromisoformat(plain["ended_at"]),
    )
