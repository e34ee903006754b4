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
from archon_batch.engine.broker import carrier, queue_lengths
from archon_batch.engine.chords import send_shard_step
from archon_batch.errors import BrokerError
from archon_batch.store import Store, current_process_id

#: Seconds between looks.
INTERVAL = 5.0
#: Seconds without a word after which a process counts as dead.
_PROCESS_LEASE = 20.0
#: Seconds without a move after which a line stands still.
_STALLED_AFTER = 20.0
#: Seconds for which the leader has the lead; fewer, so that another is there in time.
_LEADER_LEASE = 10.0
#: Seconds after which a line is sent for even though messages wait in its queues.
_RESEND_AFTER = 600.0

_LEADER_PREFIX = "sweeper of "

_log = structlog.get_logger()


class Watchdog:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._carrier = carrier()
        self._lock = threading.Lock()
        self._active: Counter[tuple[str, int, str]] = Counter()
        #: Since when, without a gap, this process has renewed its lease, and when it last did.
        self._renewing_since = self._renewed_at = time.monotonic()
        #: Until when it does not lead, since it did not reach the broker.
        self._no_lead_until = 0.0
        self.heartbeat()

    @contextmanager
    def keep_alive(self, job_id: str, cursor: int, token: str) -> Iterator[None]:
        """Count the turn as worked on while the body runs."""
        turn = job_id, cursor, token
        with self._lock:
            self._active[turn] += 1
        try:
            yield
        finally:
            with self._lock:
                self._active[turn] -= 1
                if not self._active[turn]:
                    del self._active[turn]

    def run_once(self) -> None:
        """Renew, and do what the leader does if this is the leader; a broker may hold it up.

        Raises:
            StoreError: the database cannot be reached.
            BrokerError: the broker cannot be reached.
        """
        self.heartbeat()
        leads = time.monotonic() >= self._no_lead_until and self._store.leases.acquire(
            _LEADER_PREFIX + self._carrier, current_process_id(), _LEADER_LEASE
        )
        # Who has not been able to renew cannot tell the dead from those it kept from renewing.
        knows = self._renewed_at - self._renewing_since > _PROCESS_LEASE + INTERVAL
        self._store.recover(include_expired_leases=leads and knows)
        if leads:
            self._store.leases.delete_expired()
            try:
                self._resend_lost()
                self._scale_up()
            except BrokerError:
                # It may be this process alone that is cut off: another shall try first.
                self._no_lead_until = time.monotonic() + 2 * INTERVAL
                self._store.leases.release(_LEADER_PREFIX + self._carrier, current_process_id())
                raise

    def close(self) -> None:
        """Lead no more, and live no more."""
        for name in (_LEADER_PREFIX + self._carrier, current_process_id()):
            self._store.leases.release(name, current_process_id())

    def heartbeat(self) -> None:
        """Renew this process's lease, and say for which turns it works.

        Raises:
            StoreError: the database cannot be reached.
        """
        self._store.leases.acquire(current_process_id(), current_process_id(), _PROCESS_LEASE)
        with self._lock:
            held = set(self._active)
        self._store.shard_cursors.heartbeat(held)
        at = time.monotonic()
        if at - self._renewed_at > _PROCESS_LEASE / 2:
            self._renewing_since = at
        self._renewed_at = at

    def _resend_lost(self) -> None:
        """Send for lines that nobody works on and whose messages are not in the broker.

        They are not where nothing waits, nor where what was sent later has been fetched already.
        """
        still = self._store.shard_cursors.stalled(self._carrier, _STALLED_AFTER)
        if not still:
            return
        counts = queue_lengths({queue for line in still for queue in line.queues})
        lost = [
            one
            for one in still
            if one.overtaken
            or one.idle_seconds > _RESEND_AFTER
            or not any(counts[q] for q in one.queues)
        ]
        turns = [(one.position.job_id, one.position.cursor, one.position.token) for one in lost]
        self._store.shard_cursors.heartbeat(turns, resent=True)
        for one in lost:
            send_shard_step(self._store.jobs.get(one.position.job_id), one.position)
        for job_id, lines in Counter(one.position.job_id for one in lost).items():
            _log.warning("lost_messages_resent", job=job_id, lines=lines)

    def _scale_up(self) -> None:
        """Give each job as many lines as the processes that live can work on."""
        if self._carrier == current_process_id():
            return
        living = [name for name, lives in self._store.leases.all().items() if lives]
        processes = sum(not name.startswith(_LEADER_PREFIX) for name in living)
        for job_id, width in self._store.shard_cursors.counts_by_job(self._carrier).items():
            job = self._store.jobs.get(job_id)
            if width >= job.concurrent_shards * processes:
                continue
            wanted = job.concurrent_shards * processes
            for turn in self._store.shard_cursors.scale_up(
                job_id, wanted, self._carrier, queues.PLANNING
            ):
                send_shard_step(job, turn)
