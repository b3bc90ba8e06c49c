"""Desk: what callers' threads and the engine's thread share: orders, health, one lock, one bell."""

from __future__ import annotations

import threading
from multiprocessing.connection import Pipe

from imagegen.engine.order import Verdict
from imagegen.engine.orders import Orders
from imagegen.engine.renewal import Renewal
from imagegen.engine.supervision import FAILED, READY, Supervision
from imagegen.errors import Draining, ModelFailed

NEXT_INSTANCE_S = 30.0  # to ask again after, when only another instance can help


class Desk:
    """Everything here is touched only by who holds `lock`, except `ears` to wait on.

    Nothing waits while holding it, and no foreign code runs. `lock` is also the condition that is
    notified when a picture leaves or the phase changes.
    """

    def __init__(self, orders: Orders, health: Supervision) -> None:
        self.lock = threading.Condition()
        self.orders = orders
        self.health = health
        self.renewal: Renewal | None = None
        self.draining = False  # nothing new is taken
        self.closing = False  # the engine's thread shall end
        self.ears, self._bell = Pipe(duplex=False)
        self._rung = False

    @property
    def renewing(self) -> bool:
        """The process that is being loaded, or is there, is to take the place of one before."""
        return self.renewal is not None and self.renewal.begun

    def admit(self, now: float) -> None:
        """Lets the next ones in, if there is a child to render them."""
        if self.health.phase == READY and self.renewal is None:
            if not self.orders.running:
                self.health.heard(now)  # an idle child's silence does not count against it
            self.orders.admit(now)

    def ring(self) -> None:
        """Wakes the engine's thread. At most one ring is in the pipe, so this never blocks."""
        if not self._rung:
            self._rung = True
            self._bell.send_bytes(b"!")

    def hear_bell(self) -> None:
        if self._rung:
            self.ears.recv_bytes()
            self._rung = False

    def due(self) -> float | None:
        """When to look again if nothing happens until then."""
        dues = (self.health.due(busy=self.orders.running > 0), self.orders.due())
        return min((due for due in dues if due is not None), default=None)

    def refuse_if_over(self) -> None:
        if self.draining:
            raise self.draining_error()
        if self.health.phase == FAILED:
            raise self.failed_error()

    def close_if_failed(self) -> list[Verdict]:
        """No order outlives the hope for a model."""
        return self.orders.close(self.failed_error) if self.health.phase == FAILED else []

    def failed_error(self) -> ModelFailed:
        return ModelFailed(f"the model cannot be used: {self.health.error}", NEXT_INSTANCE_S)

    def draining_error(self) -> Draining:
        return Draining("this instance is shutting down; another one will answer", NEXT_INSTANCE_S)
