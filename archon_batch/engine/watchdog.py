"""The sweeper: this process lives, and what stands still is sent for again.

Every process says with a lease that it lives, and for which turns it works. One of them at a time,
by a lease too, puts in doubt what processes without a lease had in flight, and sends for lines
whose messages nobody has.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from archon_batch.engine import queues
from archon_batch.engine.broker import carrier, waiting
from archon_batch.engine.chords import send_advance
from archon_batch.errors import BrokerError
from archon_batch.store import Store, me

#: Seconds between looks.
LOOK = 5.0
#: Seconds without a word after which a process counts as dead.
_LIFE = 20.0
#: Seconds without a move after which a line stands still.
_STILL = 20.0
#: Seconds for which the leader has the lead; fewer, so that another is there in time.
_LEAD = 10.0
#: Seconds after which a line is sent for even though messages wait in its queues.
_LONG = 600.0

_LEADER = "sweeper of "

_log = structlog.get_logger()


class Sweeper:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._carrier = carrier()
        self._lock = threading.Lock()
        self._held: Counter[tuple[str, int, str]] = Counter()
        #: Since when, without a gap, this process has renewed its lease, and when it last did.
        self._since = self._renewed = time.monotonic()
        #: Until when it does not lead, since it did not reach the broker.
        self._shut_out = 0.0
        self.live()

    @contextmanager
    def holding(self, job_id: str, line: int, word: str) -> Iterator[None]:
        """Count the turn as worked on while the body runs."""
        turn = job_id, line, word
        with self._lock:
            self._held[turn] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[turn] -= 1
                if not self._held[turn]:
                    del self._held[turn]

    def look(self) -> None:
        """Renew, and do what the leader does if this is the leader; a broker may hold it up.

        Raises:
            StoreError: the database cannot be reached.
            BrokerError: the broker cannot be reached.
        """
        self.live()
        leads = time.monotonic() >= self._shut_out and self._store.leases.take(
            _LEADER + self._carrier, me(), _LEAD
        )
        # Who has not been able to renew cannot tell the dead from those it kept from renewing.
        knows = self._renewed - self._since > _LIFE + LOOK
        self._store.recover(lapsed=leads and knows)
        if leads:
            self._store.leases.forget()
            try:
                self._send()
                self._widen()
            except BrokerError:
                # It may be this process alone that is cut off: another shall try first.
                self._shut_out = time.monotonic() + 2 * LOOK
                self._store.leases.give_back(_LEADER + self._carrier, me())
                raise

    def close(self) -> None:
        """Lead no more, and live no more."""
        for name in (_LEADER + self._carrier, me()):
            self._store.leases.give_back(name, me())

    def live(self) -> None:
        """Renew this process's lease, and say for which turns it works.

        Raises:
            StoreError: the database cannot be reached.
        """
        self._store.leases.take(me(), me(), _LIFE)
        with self._lock:
            held = set(self._held)
        self._store.lines.held(held)
        at = time.monotonic()
        if at - self._renewed > _LIFE / 2:
            self._since = at
        self._renewed = at

    def _send(self) -> None:
        """Send for lines that nobody works on and whose messages are not in the broker.

        They are not where nothing waits, nor where what was sent later has been fetched already.
        """
        still = self._store.lines.still(self._carrier, _STILL)
        if not still:
            return
        counts = waiting({queue for line in still for queue in line.queues})
        lost = [
            one
            for one in still
            if one.passed or one.idle > _LONG or not any(counts[q] for q in one.queues)
        ]
        turns = [(one.turn.job, one.turn.line, one.turn.word) for one in lost]
        self._store.lines.held(turns, again=True)
        for one in lost:
            send_advance(self._store.jobs.get(one.turn.job), one.turn)
        for job_id, lines in Counter(one.turn.job for one in lost).items():
            _log.warning("lines_sent_again", job=job_id, lines=lines)

    def _widen(self) -> None:
        """Give each job as many lines as the processes that live can work on."""
        if self._carrier == me():
            return
        living = [name for name, lives in self._store.leases.all().items() if lives]
        processes = sum(not name.startswith(_LEADER) for name in living)
        for job_id, width in self._store.lines.widths(self._carrier).items():
            job = self._store.jobs.get(job_id)
            if width >= job.width * processes:
                continue
            wanted = job.width * processes
            for turn in self._store.lines.widen(job_id, wanted, self._carrier, queues.JOINS):
                send_advance(job, turn)
