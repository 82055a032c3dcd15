"""The one background writer of a journal: takes verdicts without ever making a query wait.

`record()` puts a verdict into a bounded queue; a thread of its own turns verdicts into rows and
commits them in batches. When the disk is full, the file locked or read-only, a batch is tried
again within bounds and then given up: the loss is counted by reason, told through the log (now and
then, not once a query) and to `on_loss`. The writer itself goes on and recovers by itself.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from dataclasses import dataclass
from typing import Self

from loguru import logger

from natix_miner.cascade.verdict import Verdict
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import JournalError
from natix_miner.journal.connection import open_for_writing, reason_of
from natix_miner.journal.losses import LossBook, OnLoss, WriterStats
from natix_miner.journal.retention import Retention, prune_step
from natix_miner.journal.rows import Row, insert, insert_new
from natix_miner.sections import JournalSettings

#: Troubles of one row, which say nothing about the journal: text that is no UTF-8, numbers beyond
#: 64 bits, a trace that is not JSON, values that break a constraint.
_ROW_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How the writer works; times in seconds.

    A batch is committed when it has `batch_rows`, or `batch_seconds` after its first verdict. A
    batch that fails is tried `attempts` times in all, with waits that double from `first_wait` to
    `longest_wait` (the defaults give up after about 7 s). `queue_bytes` bounds the pictures that
    wait. `prune_seconds` lie between two looks for old entries, `report_seconds` between two lines
    about losses.
    """

    batch_rows: int = 100
    batch_seconds: float = 0.05
    attempts: int = 8
    first_wait: float = 0.05
    longest_wait: float = 5.0
    busy_seconds: float = 0.25
    queue_bytes: int = 128 * 2**20
    prune_seconds: float = 60.0
    report_seconds: float = 60.0


class JournalWriter:
    """Writes verdicts to the journal that `settings` names; see the module.

    `settings.enabled` is the caller's business: whoever makes a writer wants one.
    """

    def __init__(
        self,
        settings: JournalSettings,
        *,
        clock: Clock = SYSTEM_CLOCK,
        on_loss: OnLoss | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._pacing = pacing or Pacing()
        self._losses = LossBook(clock, self._pacing.report_seconds, on_loss)
        self._keep = Retention(settings.keep_days, settings.keep_gigabytes)
        self._wake = threading.Condition()
        self._queue: deque[Verdict] = deque()
        self._queued_bytes = 0
        self._in_hand = 0
        self._written = 0
        self._pruned = 0
        self._prune_failures = 0
        self._state = "new"  # new, running, closing, ended
        self._give_up_at: float | None = None
        self._thread: threading.Thread | None = None
        self._losing = False
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None

    # -- the caller's side ---------------------------------------------------------------------

    def start(self) -> Self:
        """Open the journal (made and migrated when needed) and start the thread.

        Raises JournalError when the path can never work: no journal, or one newer than this code.
        A disk that is full, locked or read-only now is told, and tried again at every batch.
        """
        if self._state != "new":
            raise JournalError("this journal writer was started before: make a new one")
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._losses.trouble(reason_of(error), str(error))
            logger.error(
                "journal {} cannot be written ({}: {}); queries are answered without it until it "
                "can",
                self._settings.path,
                reason_of(error),
                error,
            )
        self._state = "running"
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()
        return self

    def record(self, verdict: Verdict) -> bool:
        """Hand a verdict over; returns at once, never raises.

        True: it waits in the queue and will be written or counted as lost. False: it is lost and
        counted already (the queue is full, or the writer does not run).
        """
        size = len(verdict.query.picture)
        with self._wake:
            waiting = len(self._queue)
            refused = self._refusal(size)
            if refused is None:
                self._queue.append(verdict)
                self._queued_bytes += size
                if waiting == 0 or waiting + 1 == self._pacing.batch_rows:
                    self._wake.notify_all()
                return True
        self._losses.add(refused, 1, f"{waiting} verdicts are waiting, the writer is {self._state}")
        return False

    def refuses(self) -> str | None:
        """Why a verdict would be refused now ("closed", "queue-full"), None when none would."""
        with self._wake:
            return self._refusal(0)

    def _refusal(self, size: int) -> str | None:
        if self._state != "running":
            return "closed"
        rows = len(self._queue) + self._in_hand
        full = rows >= self._settings.queue or self._queued_bytes + size > self._pacing.queue_bytes
        return "queue-full" if full else None

    def stats(self) -> WriterStats:
        """The counts as they stand."""
        with self._wake:
            return WriterStats(
                queued=len(self._queue) + self._in_hand,
                queued_bytes=self._queued_bytes,
                written=self._written,
                lost=self._losses.lost(),
                pruned=self._pruned,
                prune_failures=self._prune_failures,
                last_error=self._losses.last_error,
            )

    def flush(self, seconds: float) -> bool:
        """Wait until nothing is queued, for at most `seconds`; True when that came about."""
        with self._wake:
            return self._wake.wait_for(
                lambda: not self._queue and self._in_hand == 0, timeout=seconds
            )

    def close(self, seconds: float = 5.0) -> int:
        """Write what is queued for at most `seconds`, then stop; the number that was not written.

        What is not written is counted as lost like any other loss. Closing twice is allowed.
        """
        with self._wake:
            if self._state == "new":
                self._state = "ended"
            if self._state == "running":
                self._state = "closing"
                self._give_up_at = self._clock.monotonic() + seconds
                self._wake.notify_all()
            asked = len(self._queue) + self._in_hand
            before = self._written
        if self._thread is not None:
            # The thread keeps to the time by itself; a disk that hangs in one call may not.
            self._thread.join(seconds + 2 * self._pacing.busy_seconds + 1.0)
        with self._wake:
            waiting = len(self._queue) + self._in_hand
            left = asked - (self._written - before)
        if waiting:
            logger.error("journal writer hangs in a call to the disk; {} rows are open", waiting)
        return left

    def __enter__(self) -> Self:
        return self.start() if self._state == "new" else self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the thread's side ---------------------------------------------------------------------

    def _run(self) -> None:
        prune_at = self._clock.monotonic()
        try:
            while True:
                batch = self._next_batch(prune_at)
                if batch:
                    self._write(batch)
                elif self._over():
                    break
                if self._clock.monotonic() >= prune_at and not self._over():
                    more = self._prune()
                    wait = self._pacing.batch_seconds if more else self._pacing.prune_seconds
                    prune_at = self._clock.monotonic() + wait
        finally:
            # Reached by an unforeseen error too: what waits must not be taken for written.
            self._end()

    def _next_batch(self, prune_at: float) -> list[Verdict]:
        """The verdicts to write next; empty when it is time to prune or to end."""
        pacing = self._pacing
        with self._wake:
            if self._out_of_time():
                return []
            while not self._queue and self._state == "running":
                left = prune_at - self._clock.monotonic()
                if left <= 0:
                    return []
                self._wake.wait(left)
            if len(self._queue) < pacing.batch_rows and self._state == "running":
                self._wake.wait_for(
                    lambda: len(self._queue) >= pacing.batch_rows or self._state != "running",
                    timeout=pacing.batch_seconds,
                )
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), pacing.batch_rows))]
            self._in_hand = len(batch)
            return batch

    def _write(self, batch: list[Verdict]) -> None:
        """Commit a batch, trying again within bounds; counts each of its rows exactly once."""
        pacing = self._pacing
        rows = self._rows(batch)
        wait = pacing.first_wait
        for attempt in range(1, pacing.attempts + 1):
            try:
                written = self._commit(rows)
            except (sqlite3.Error, OSError, JournalError, MemoryError) as error:
                self._forget_connection()
                reason = "memory" if isinstance(error, MemoryError) else reason_of(error)
                self._losses.trouble(reason, str(error))
                if attempt == pacing.attempts or not self._pause(wait):
                    self._losses.add(reason, len(rows), str(error))
                    self._done(batch, 0)
                    self._losing = True
                    return
                wait = min(2 * wait, pacing.longest_wait)
                continue
            self._done(batch, written)
            if self._losing:
                self._losing = False
                self._losses.recovered()
            return

    def _rows(self, batch: list[Verdict]) -> list[Row]:
        rows = []
        for verdict in batch:
            try:
                rows.append(Row.of(verdict, keep_picture=self._settings.keep_pictures))
            except _ROW_ERRORS as error:
                self._losses.add("unwritable", 1, f"query {verdict.query.id!r}: {error}")
        return rows

    def _commit(self, rows: list[Row]) -> int:
        """One transaction; the number of rows written. Rows that cannot be are counted as lost."""
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            insert(connection, rows)
        except _ROW_ERRORS:
            # Which of the rows it was, and why, comes out in going through them one by one.
            connection.execute("ROLLBACK")
            return self._commit_one_by_one(connection, rows)
        connection.execute("COMMIT")
        return len(rows)

    def _commit_one_by_one(self, connection: sqlite3.Connection, rows: list[Row]) -> int:
        refused: list[tuple[str, str]] = []
        connection.execute("BEGIN IMMEDIATE")
        for row in rows:
            connection.execute("SAVEPOINT one_row")
            try:
                if not insert_new(connection, row):
                    refused.append(("duplicate", f"query {row.id!r} is in the journal already"))
            except _ROW_ERRORS as error:
                connection.execute("ROLLBACK TO one_row")
                refused.append(("unwritable", f"query {row.id!r}: {error}"))
            connection.execute("RELEASE one_row")
        connection.execute("COMMIT")
        for reason, detail in refused:
            self._losses.add(reason, 1, detail)
        return len(rows) - len(refused)

    def _prune(self) -> bool:
        """One step of retention; True when there is more to do."""
        try:
            step = prune_step(self._connected(), self._keep, self._clock.time())
        except (sqlite3.Error, OSError, JournalError) as error:
            self._forget_connection()
            self._losses.trouble(reason_of(error), f"pruning: {error}")
            with self._wake:
                self._prune_failures += 1
            return False
        with self._wake:
            self._pruned += step.entries
        return step.more

    def _done(self, batch: list[Verdict], written: int) -> None:
        with self._wake:
            self._written += written
            self._in_hand = 0
            self._queued_bytes -= sum(len(verdict.query.picture) for verdict in batch)
            self._wake.notify_all()

    def _pause(self, seconds: float) -> bool:
        """Wait before another attempt; False when closing leaves no time for one."""
        with self._wake:
            if self._give_up_at is None:
                self._wake.wait_for(lambda: self._give_up_at is not None, timeout=seconds)
            else:
                left = self._give_up_at - self._clock.monotonic()
                if left <= 0:
                    return False
                # Nothing notifies now: this is a plain wait of at most what is left.
                self._wake.wait_for(lambda: False, timeout=min(seconds, left))
        return True

    def _over(self) -> bool:
        """True when the thread has to end: closing, and nothing is left or no time is."""
        with self._wake:
            return self._state != "running" and (not self._queue or self._out_of_time())

    def _out_of_time(self) -> bool:
        return self._give_up_at is not None and self._clock.monotonic() >= self._give_up_at

    def _end(self) -> None:
        self._forget_connection()
        with self._wake:
            foreseen = self._state == "closing"
            left = len(self._queue) + self._in_hand
            self._state = "ended"
        if not foreseen:
            logger.error("the journal writer ended by an unforeseen error; nothing is kept now")
        self._losses.add("closed" if foreseen else "writer-ended", left, "the writer has ended")
        with self._wake:
            self._queue.clear()
            self._queued_bytes = self._in_hand = 0
            self._wake.notify_all()

    def _open(self) -> None:
        path = self._settings.path
        self._connection = open_for_writing(path, busy_seconds=self._pacing.busy_seconds)
        self._inode = os.stat(path).st_ino

    def _connected(self) -> sqlite3.Connection:
        """The open journal; opened again when somebody moved or removed the file under it."""
        if self._connection is not None:
            try:
                moved = os.stat(self._settings.path).st_ino != self._inode
            except FileNotFoundError:
                moved = True
            if moved:
                logger.error(
                    "the journal {} was moved or removed: a new one begins", self._settings.path
                )
                self._forget_connection()
        if self._connection is None:
            self._open()
        assert self._connection is not None
        return self._connection

    def _forget_connection(self) -> None:
        """Close; an open transaction is rolled back by that."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
