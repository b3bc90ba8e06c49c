"""RenderProcess: the parent's handle on the process that owns the GPU. Never imports torch.

callers' threads ──► RenderProcess ──► Desk (orders, health) ◄── Keeper, one thread ◄──► Child
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from imagegen.engine.desk import Desk
from imagegen.engine.keeper import Keeper, tell
from imagegen.engine.messages import Start
from imagegen.engine.order import Audience, OnEvent, Preview, Progress
from imagegen.engine.orders import Orders
from imagegen.engine.renderer import Renderer
from imagegen.engine.renewal import Renewal
from imagegen.engine.supervision import DRAINING, FAILED, READY, STOPPED, Supervision
from imagegen.errors import ModelLoading, QueueFull
from imagegen.generation import ModelInfo, Rendering, RenderSpec
from imagegen.logs import LogStyle
from imagegen.tracing import current_trace

__all__ = ["Audience", "EngineStatus", "OnEvent", "Preview", "Progress", "RenderProcess"]

LOAD_TIMEOUT_S = 900.0
UNKNOWN_LOAD_S = 5.0  # to ask again after, while no load has been measured


@dataclass(frozen=True)
class EngineStatus:
    """What the engine does now."""

    phase: str  # stopped, one of PHASES, ready, restarting, failed, draining
    ready: bool
    model: ModelInfo | None
    queued: int  # pictures
    running: int  # pictures
    eta_s: float | None  # until ready, if known
    error: str | None
    deaths: int  # render processes that ended unasked
    hopeless: bool  # failed through deaths: this instance should be replaced
    abandoned_gpu_s: float  # spent on pictures that nobody got
    start_s: Mapping[str, float] = field(default_factory=dict)  # by phase, the current one too


class RenderProcess:
    """Renders specs in a process of its own. `make_renderer` is picklable and called there.

    Every future ends with a Rendering or an ImagegenError, whatever happens to the process.
    Futures are cancelled by `cancel`, not by their own method.
    """

    def __init__(
        self,
        make_renderer: Callable[[], Renderer[Any]],
        *,
        max_queue: int,
        max_rows: int | None = None,
        step_timeout_s: float = 120.0,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        logs: LogStyle | None = None,
    ) -> None:
        """logs: how the render process writes its lines; without it there are only warnings."""
        self._desk = Desk(
            Orders(max_queue=max_queue),
            Supervision(step_timeout_s, load_timeout_s),
        )
        self._max_rows, self._logs = max_rows, logs
        self._keeper = Keeper(self._desk, self._start_of(make_renderer))
        self._thread: threading.Thread | None = None

    def start(self, container_s: float | None = None) -> None:
        """Returns at once; the model loads in the background. Once only.

        container_s: how long this instance has lived so far, to be told with the other phases.
        """
        self._desk.health.container_s = container_s
        # Made here, not before: to Python, a thread made before a fork has ended after it.
        self._thread = threading.Thread(target=self._keeper.run, name="engine", daemon=True)
        self._thread.start()

    def expect(self, start_s: Mapping[str, float]) -> None:
        """What the phases of starts like this one took: so that it can tell how long it will be."""
        with self._desk.lock:
            if start_s and self._desk.health.phase != READY:
                self._desk.health.start_up.expect(start_s)

    def renew(self, make_renderer: Callable[[], Renderer[Any]]) -> Future[str | None]:
        """Another render process, once what is in flight is done; until it is ready all else waits.

        The future ends with None, or with why the new one could not be loaded: then one like before
        is started again. One renewal at a time. Raises Draining and ModelFailed.
        """
        renewal = Renewal(self._start_of(make_renderer))
        with self._desk.lock:
            self._desk.refuse_if_over()
            assert self._desk.renewal is None, "whoever renews waits for the end of it"
            self._desk.renewal = renewal
            self._desk.ring()
        return renewal.ended

    def _start_of(self, make_renderer: Callable[[], Renderer[Any]]) -> Start:
        return Start(pickle.dumps(make_renderer), self._max_rows, self._logs)

    def stop(self, grace_s: float) -> None:
        """Takes nothing new; lets what is open end for up to `grace_s`, then with Draining."""
        with self._desk.lock:
            self._desk.draining = True
            self._desk.lock.wait_for(lambda: not self._desk.orders, timeout=grace_s)
            self._desk.closing = True
            self._desk.ring()
        if self._thread is not None:
            self._thread.join()
        else:
            self._keeper.close()

    def late(self, within_s: float) -> bool:
        """Ends, with Draining, the picture that is furthest from being ready `within_s`.

        One between two steps at most: without it the others move faster. Returns whether there is
        no hope at all, as the model will not be loaded by then.
        """
        now = time.monotonic()
        with self._desk.lock:
            verdicts = self._desk.orders.cut(now + within_s, self._desk.draining_error)
            eta_s = self._desk.health.eta_s(now)
            self._desk.lock.notify_all()
            self._desk.ring()
        tell(verdict.tell for verdict in verdicts)
        return eta_s is not None and eta_s > within_s

    def status(self) -> EngineStatus:
        now = time.monotonic()
        with self._desk.lock:
            health = self._desk.health
            draining = self._desk.draining and health.phase != STOPPED
            return EngineStatus(
                phase=DRAINING if draining else health.phase,
                ready=health.phase == READY and not self._desk.draining,
                model=health.model,
                queued=self._desk.orders.waiting,
                running=self._desk.orders.running,
                eta_s=None if self._desk.draining else health.eta_s(now),
                error=health.error,
                deaths=health.deaths,
                hopeless=health.hopeless,
                abandoned_gpu_s=self._desk.orders.abandoned_gpu_s,
                start_s=health.start_up.so_far(now),
            )

    @property
    def pid(self) -> int | None:
        """The render process, if there is one: for whoever must look at it from outside."""
        child = self._keeper.child
        return None if child is None else child.pid

    def wait_ready(self, timeout_s: float) -> ModelInfo:
        """Raises ModelLoading when the time is over, ModelFailed if waiting is in vain."""
        with self._desk.lock:
            self._desk.lock.wait_for(
                lambda: self._desk.health.phase in (READY, FAILED) or self._desk.draining, timeout_s
            )
            self._desk.refuse_if_over()
            if self._desk.health.phase != READY or self._desk.health.model is None:
                eta_s = self._desk.health.eta_s(time.monotonic())
                raise ModelLoading(
                    f"the model is not ready yet ({self._desk.health.phase})",
                    UNKNOWN_LOAD_S if eta_s is None else eta_s,
                )
            return self._desk.health.model

    def submit(
        self,
        specs: Sequence[RenderSpec],
        *,
        caller: str = "",
        deadline_s: float,
        on_event: OnEvent | None = None,
        previews: bool = False,
        most_waiting: int | None = None,
    ) -> list[Future[Rendering]]:
        """One future a spec, or none: raises QueueFull, Quarantined, ModelFailed, Draining.

        Callers take turns; of one of them no more than `most_waiting` pictures wait. What is
        submitted before the model is ready waits for it. `on_event` hears of each step and, with
        `previews`, gets a small look now and then; it is called on the engine's thread and must be
        quick.
        """
        now = time.monotonic()
        audience = Audience(on_event, previews, current_trace())
        with self._desk.lock:
            self._desk.refuse_if_over()
            try:
                futures = self._desk.orders.submit(
                    specs, caller, now, deadline_s, audience, most_waiting
                )
            except QueueFull as full:  # nothing leaves before the process is ready
                full.retry_after_s += self._desk.health.eta_s(now) or 0.0
                raise
            self._desk.admit(now)
            self._desk.ring()
        return futures

    def cancel(self, futures: Collection[Future[Rendering]]) -> None:
        """Those still open end with Cancelled now; their rows are free within one step."""
        with self._desk.lock:
            verdicts = self._desk.orders.cancel(futures)
            self._desk.lock.notify_all()
            self._desk.ring()
        tell(verdict.tell for verdict in verdicts)
