"""The spool: results of attempts as files on this machine, while the database is unavailable.

An answer that has arrived is paid for. The spool keeps it, complete and on disk, until the database
is back and the results are replayed.
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
    def for_database(cls, root: Path, address: str) -> "Spool":
        """The spool of one database, in a folder of its own under ``root``."""
        return cls(root / hashlib.sha256(address.encode()).hexdigest()[:16])

    @property
    def quarantine(self) -> "Spool":
        """Results that the database cannot take in full; a person has to look at them."""
        return Spool(self.folder / "quarantine")

    @property
    def unsent(self) -> "Spool":
        """Results of attempts that were not sent, and are perhaps not recorded either."""
        return Spool(self.folder / "unsent")

    def write(self, results: Sequence[AttemptResult], name: str | None = None) -> None:
        """Write the results to a file, so that they survive a power loss.

        An existing file with this ``name`` is replaced, so that the call can be repeated.

        Raises:
            OSError: the file cannot be written.
        """
        private_files.make_private_dir(self.folder)
        random = secrets.token_hex(8)
        draft, final = self.folder / f"{random}.draft", self.folder / f"{name or random}.json"
        try:
            with private_files.open_private(draft, "x", encoding="ascii") as file:
                json.dump([_result_to_json(result) for result in results], file)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(final)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read_all(self) -> Iterator[tuple[Path, list[AttemptResult]]]:
        """Every file with its results. An unreadable file is renamed and logged."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                results = [_result_from_json(data) for data in json.loads(path.read_bytes())]
            except FileNotFoundError:
                continue  # another process has replayed it
            except (ValueError, KeyError, TypeError):
                unreadable = path.with_suffix(".unreadable")
                path.rename(unreadable)
                _log.error("spooled_results_unreadable", file=str(unreadable))
                continue
            yield path, results

    def problems(self) -> Iterator[str]:
        """Files that a person has to look at."""
        for folder, pattern, what in (
            (
                self.quarantine.folder,
                "*.json",
                "with results that the ledger could not store in full",
            ),
            (self.folder, "*.unreadable", "that cannot be read"),
        ):
            if files := len(list(folder.glob(pattern))):
                yield f"{folder} has {files} file{'s' * (files > 1)} {what}"


def _result_to_json(result: AttemptResult) -> dict[str, Any]:
    request = result.request
    return {
        **asdict(result),
        "request": {
            **asdict(request),
            "call": [request.call.job_id, request.call.ix, str(request.call.key)],
            "begun_at": request.begun_at.isoformat(),
        },
        "billing": result.billing.value,
        "ended_at": result.ended_at.isoformat(),
    }


def _result_from_json(data: dict[str, Any]) -> AttemptResult:
    request, reply = data["request"], data["reply"]
    job_id, ix, key = request["call"]
    return AttemptResult(
        request=AttemptRequest(
            **{
                **request,
                "call": CallId(job_id, ix, CallKey.parse(key)),
                "begun_at": datetime.fromisoformat(request["begun_at"]),
            }
        ),
        attempt_number=data["attempt_number"],
        billing=Billing(data["billing"]),
        outcome=data["outcome"],
        detail=data["detail"],
        usage=Usage(**data["usage"]),
        cost=None if data["cost"] is None else NanoUsd(data["cost"]),
        estimated=data["estimated"],
        reply=None if reply is None else Reply(**{**reply, "usage": Usage(**reply["usage"])}),
        ended_at=datetime.fromisoformat(data["ended_at"]),
    )
