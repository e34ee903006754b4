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
from archon_batch.store.attempts import CallId, Finish, Start

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Spool:
    folder: Path

    @classmethod
    def of(cls, root: Path, database: str) -> "Spool":
        """The part of a spool that is for the database of that name."""
        return cls(root / hashlib.sha256(database.encode()).hexdigest()[:16])

    @property
    def aside(self) -> "Spool":
        """Where ends are that nothing on record takes: for a person to look at."""
        return Spool(self.folder / "aside")

    def keep(self, finishes: Sequence[Finish], name: str | None = None) -> None:
        """Write the ends down; when this returns, they survive a loss of power.

        What has the ``name`` already is replaced, so that it is safe to do again.

        Raises:
            OSError: they cannot be written.
        """
        private_files.folder(self.folder)
        word = secrets.token_hex(8)
        draft, whole = self.folder / f"{word}.draft", self.folder / f"{name or word}.json"
        try:
            with private_files.opened(draft, "x", encoding="ascii") as file:
                json.dump([_plain(finish) for finish in finishes], file)
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

    def kept(self) -> Iterator[tuple[Path, list[Finish]]]:
        """The files with what is in them; one that cannot be read is put aside and told of."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                finishes = [_finish(plain) for plain in json.loads(path.read_bytes())]
            except FileNotFoundError:
                continue  # another process has taken it in
            except (ValueError, KeyError, TypeError):
                path.rename(path.with_suffix(".unreadable"))
                _log.error("spooled_ends_unreadable", file=str(path.with_suffix(".unreadable")))
                continue
            yield path, finishes

    def faults(self) -> Iterator[str]:
        """What nobody but a person can do something about."""
        for folder, glob, what in (
            (self.aside.folder, "*.json", "with ends that the ledger could not take in whole"),
            (self.folder, "*.unreadable", "that cannot be read"),
        ):
            if files := len(list(folder.glob(glob))):
                yield f"{folder} has {files} file{'s' * (files > 1)} {what}"


def _plain(finish: Finish) -> dict[str, Any]:
    start = finish.start
    return {
        **asdict(finish),
        "start": {
            **asdict(start),
            "call": [start.call.job, start.call.ix, str(start.call.key)],
            "at": start.at.isoformat(),
        },
        "billing": finish.billing.value,
        "at": finish.at.isoformat(),
    }


def _finish(plain: dict[str, Any]) -> Finish:
    start = plain["start"]
    job, ix, key = start["call"]
    reply = plain["reply"]
    return Finish(
        start=Start(
            **{
                **start,
                "call": CallId(job, ix, CallKey.parse(key)),
                "at": datetime.fromisoformat(start["at"]),
            }
        ),
        n=plain["n"],
        billing=Billing(plain["billing"]),
        outcome=plain["outcome"],
        why=plain["why"],
        usage=Usage(**plain["usage"]),
        cost=None if plain["cost"] is None else NanoUsd(plain["cost"]),
        estimated=plain["estimated"],
        reply=None if reply is None else Reply(**{**reply, "usage": Usage(**reply["usage"])}),
        at=datetime.fromisoformat(plain["at"]),
    )
