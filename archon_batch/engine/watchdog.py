"""The watchdog: renews this process's lease, and recovers what dead processes and brokers lost.

Every process renews a lease, and the heartbeat of the shard cursors it works on. One process at a
time, elected by a lease too, is the leader: it puts the attempts of processes without a lease in
doubt, and resends the messages of cursors that have stalled.
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
from archon_batch.settings import Timing
from archon_batch.store import Store, current_process_id

_LEADER_PREFIX = "watchdog of "

_log = structlog.get_logger()


class Watchdog:
    def __init__(self, store: Store, timing: Timing) -> None:
        self._store = store
        self._timing = timing
        self._carrier = carrier()
        self._lock = threading.Lock()
        self._active: Counter[tuple[str, int, str]] = Counter()
        #: Since when this process has renewed its lease without a gap, and the last renewal.
        self._renewing_since = self._renewed_at = time.monotonic()
        #: Until when this process does not lead, since it could not reach the broker.
        self._no_lead_until = 0.0
        self.heartbeat()

    @contextmanager
    def keep_alive(self, job_id: str, cursor: int, token: str) -> Iterator[None]:
        """Include the cursor in the heartbeats while the body runs."""
        key = job_id, cursor, token
        with self._lock:
            self._active[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._active[key] -= 1
                if not self._active[key]:
                    del self._active[key]

    def run_once(self) -> None:
        """Send a heartbeat and, as the leader, recover; an unresponsive broker may block it.

        Raises:
            StoreError: the database is unreachable.
            BrokerError: the broker is unreachable.
        """
        self.heartbeat()
        leads = time.monotonic() >= self._no_lead_until and self._store.leases.acquire(
            _LEADER_PREFIX + self._carrier, current_process_id(), self._timing.leader_lease
        )
        # If we could not renew our own lease, other processes could not either; do not declare them
        # dead.
        renewed_without_gap = self._renewed_at - self._renewing_since > (
            self._timing.process_lease + self._timing.watchdog_interval
        )
        self._store.recover(include_expired_leases=leads and renewed_without_gap)
        if leads:
            self._store.leases.delete_expired()
            try:
                self._resend_lost()
                self._scale_up()
            except BrokerError:
                # Perhaps only this process is cut off: let another one lead first.
                self._no_lead_until = time.monotonic() + 2 * self._timing.watchdog_interval
                self._store.leases.release(_LEADER_PREFIX + self._carrier, current_process_id())
                raise

    def close(self) -> None:
        """Release the leader's lease and the process's lease."""
        for name in (_LEADER_PREFIX + self._carrier, current_process_id()):
            self._store.leases.release(name, current_process_id())

    def heartbeat(self) -> None:
        """Renew this process's lease, and the heartbeat of its cursors.

        Raises:
            StoreError: the database is unreachable.
        """
        self._store.leases.acquire(
            current_process_id(), current_process_id(), self._timing.process_lease
        )
        with self._lock:
            active = set(self._active)
        self._store.shard_cursors.heartbeat(active)
        at = time.monotonic()
        if at - self._renewed_at > self._timing.process_lease / 2:
            self._renewing_since = at
        self._renewed_at = at

    def _resend_lost(self) -> None:
        """Resend messages of stalled cursors that are not in the broker.

        A message is lost if its queues are empty, or if messages sent later to the same queue have
        been fetched already.
        """
        stalled = self._store.shard_cursors.stalled(self._carrier, self._timing.stalled_after)
        if not stalled:
            return
        lengths = queue_lengths({queue for cursor in stalled for queue in cursor.queues})
        lost = [
            cursor.position
            for cursor in stalled
            if cursor.overtaken
            or cursor.idle_seconds > self._timing.resend_after
            or not any(lengths[queue] for queue in cursor.queues)
        ]
        self._store.shard_cursors.heartbeat(
            [(position.job_id, position.cursor, position.token) for position in lost], resent=True
        )
        for position in lost:
            send_shard_step(self._store.jobs.get(position.job_id), position)
        for job_id, cursors in Counter(position.job_id for position in lost).items():
            _log.warning("lost_messages_resent", job=job_id, cursors=cursors)

    def _scale_up(self) -> None:
        """Give each job as many cursors as the living processes can work on."""
        if self._carrier == current_process_id():
            return
        living = [name for name, is_alive in self._store.leases.all().items() if is_alive]
        processes = sum(not name.startswith(_LEADER_PREFIX) for name in living)
        for job_id, cursors in self._store.shard_cursors.counts_by_job(self._carrier).items():
            job = self._store.jobs.get(job_id)
            wanted = job.concurrent_shards * processes
            if cursors >= wanted:
                continue
            for position in self._store.shard_cursors.scale_up(
                job_id, wanted, self._carrier, queues.PLANNING
            ):
                send_shard_step(job, position)
