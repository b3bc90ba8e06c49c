"""Keeper: the engine's thread in the parent. It alone starts, hears, watches and buries the child.

A thin shell: what to do is decided by Orders and Supervision, which have neither clock nor process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import wait

from imagegen.engine.desk import Desk
from imagegen.engine.messages import FromChild, LoadFailed, Ready, Start
from imagegen.engine.spawn import Child
from imagegen.engine.supervision import FAILED

logger = logging.getLogger(__name__)

MESSAGES_A_TURN = 100  # a chatty child must not keep us from deadlines
LONGEST_WAIT_S = 1.0  # between two looks at a child that keeps silent


class Keeper:
    """`run` is the thread's life: it ends when the desk is closing."""

    def __init__(self, desk: Desk, start: Start) -> None:
        self._desk = desk
        self._start = start
        self.child: Child | None = None

    def run(self) -> None:
        try:
            while not self._desk.closing:
                self._turn()
        except Exception:
            logger.exception("model: the engine's thread failed")
            with self._desk.lock:
                self._desk.health.failed(
                    "the engine itself failed; its log says where", hopeless=True
                )
        finally:
            self.close()

    def close(self) -> None:
        """Ends every open order, then the child: with a GPU in its hands that may take a while."""
        with self._desk.lock:
            verdicts = self._desk.close_if_failed()
            if self._desk.closing:
                verdicts += self._desk.orders.close(self._desk.draining_error)
                self._desk.health.stopped()
            self._desk.lock.notify_all()
            renewal, self._desk.renewal = self._desk.renewal, None
        if renewal is not None:
            renewal.ended.set_result("the engine has stopped")
        tell(verdict.tell for verdict in verdicts)
        if self.child is not None:
            self.child.end(now=True)
            self.child = None

    def _turn(self) -> None:
        self._renew_if_idle()
        self._start_if_due()
        self._send()
        self._wait()
        self._hear_all()
        self._watch()

    def _renew_if_idle(self) -> None:
        with self._desk.lock:
            renewal = self._desk.renewal
            busy = self._desk.orders.running > 0 or self._desk.health.phase == FAILED
            if renewal is None or renewal.begun or busy:
                return
            renewal.before, self._start = self._start, renewal.start
        self._end_on_purpose()

    def _go_back(self, reason: str) -> bool:
        """Whether it was a renewal that failed: then the start before it is tried again."""
        with self._desk.lock:
            renewal = self._desk.renewal
            if renewal is None or renewal.before is None:
                return False  # also where it was asked for and has not begun
            self._start, self._desk.renewal = renewal.before, None
        logger.error("model: the renewed render process is of no use: %s", reason)
        self._end_on_purpose()
        renewal.ended.set_result(reason)
        return True

    def _end_on_purpose(self) -> None:
        if self.child is not None:
            self.child.end(now=True)
            self.child = None
        with self._desk.lock:
            self._desk.orders.lost()  # nothing is in flight: it forgets whom the last call was for
            self._desk.health.renew(time.monotonic())
            self._desk.lock.notify_all()

    def _start_if_due(self) -> None:
        now = time.monotonic()
        with self._desk.lock:
            if not self._desk.health.may_start(now):
                return
            self._desk.health.started(now)
        try:
            self.child = Child(self._start)
        except OSError as error:
            self._died(f"could not be started: {error}")

    def _send(self) -> None:
        while self.child is not None:
            with self._desk.lock:
                if not self._desk.orders.outbox:
                    return
                message = self._desk.orders.outbox.popleft()
            self.child.send(message)

    def _wait(self) -> None:
        with self._desk.lock:
            due = self._desk.due()
        wait_s = LONGEST_WAIT_S if due is None else min(due - time.monotonic(), LONGEST_WAIT_S)
        sources = [self._desk.ears] + ([] if self.child is None else [self.child.connection])
        wait(sources, max(0.0, wait_s))
        with self._desk.lock:
            self._desk.hear_bell()

    def _hear_all(self) -> None:
        for _ in range(MESSAGES_A_TURN):
            if self.child is None:
                return
            ended = self.child.ended()  # asked first: what it said before its end is still there
            try:
                message = self.child.receive()
            except EOFError:
                message, ended = None, True
            if message is not None:
                self._hear(message)
            elif ended:
                self._died()
            else:
                return

    def _hear(self, message: FromChild) -> None:
        now = time.monotonic()
        if isinstance(message, LoadFailed) and self._go_back(message.text):
            return
        renewal = None
        with self._desk.lock:
            lines = self._desk.health.hear(message, now)
            if isinstance(message, Ready) and self._desk.renewing:
                renewal, self._desk.renewal = self._desk.renewal, None
            news = self._desk.orders.hear(message, now)
            news += [verdict.tell for verdict in self._desk.close_if_failed()]
            self._desk.admit(now)
            self._desk.lock.notify_all()
        if renewal is not None:
            renewal.ended.set_result(None)
        self._send()  # the GPU first, then the callers
        for line in lines:
            text, _, stack = line.partition("\n")
            level = logging.WARNING if stack else logging.INFO
            logger.log(level, "model: %s", text, extra={"stack": stack})
        tell(news)

    def _watch(self) -> None:
        now = time.monotonic()
        with self._desk.lock:
            verdicts = self._desk.orders.expire(now)
            self._desk.admit(now)
            ailment = self._desk.health.ailment(now, busy=self._desk.orders.running > 0)
            self._desk.lock.notify_all()
        tell(verdict.tell for verdict in verdicts)
        if ailment is not None:
            self._died(ailment)

    def _died(self, ailment: str | None = None) -> None:
        """Buries the child: one that is ill, or has ended by itself."""
        how = ailment or ""
        if self._go_back(how or "it ended while it was loaded"):
            return
        if self.child is not None:
            end = self.child.end(now=ailment is not None)
            how = f"{end}: {ailment}" if ailment else end
            self.child = None
        with self._desk.lock:
            health = self._desk.health
            verdicts = self._desk.orders.lost()
            health.died(how, time.monotonic(), by_guilty_picture=bool(verdicts))
            verdicts += self._desk.close_if_failed()
            phase, error = health.phase, health.error
            self._desk.lock.notify_all()
        logger.error("model: the render process is gone (%s); %s", error, phase)
        tell(verdict.tell for verdict in verdicts)


def tell(news: Iterable[Callable[[], None]]) -> None:
    """Calls foreign code: what it raises is its own affair and must not end the engine's thread."""
    for call in news:
        try:
            call()
        except Exception:
            logger.exception("a caller's on_event failed")
