"""One instance of a Cloud Run service: it starts, serves requests side by side, idles, stops."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

from imagegen.cost.gpu import SharedGpu


@dataclass(frozen=True)
class Service:
    """How a service is deployed and what its program can do. docs/cost.md has the sources."""

    start_s: float  # from the decision to start an instance until it can serve
    concurrency: int  # requests at a time in one instance
    max_instances: int
    idle_tail_s: float  # how long an instance without requests is kept
    scale_at: float = 0.6  # of the concurrency: beyond it another instance starts
    pend_s: float = 10.0  # a request waits for an instance so long, or …
    pend_starts: float = 3.5  # … so many times `start_s`, whichever is more; then 429
    picture_s: float = 0.0  # of the GPU, for a picture alone
    marginal_picture: float = 1.0  # what each further one in a batch adds, in pictures alone
    max_batch: int = 1  # pictures in flight together
    warm_hours: tuple[float, float] | None = None  # of each day: one instance is kept between them


@dataclass(frozen=True)
class Request:
    """One HTTP request, or a script's whole row of them. Seconds since a midnight."""

    at_s: float
    held_s: float = 0.0  # what it takes beside its pictures; no request slows another one's
    num_images: int = 0
    at_a_time: int = 8  # its pictures that are asked for together
    slots: int = 1  # of the concurrency
    patience_s: float = 0.0  # how long it asks again where others would be refused


@dataclass(frozen=True)
class Life:
    """What there is to say about an instance once it is gone; what it is billed by."""

    started_s: float
    ready_s: float
    stopped_s: float
    busy: tuple[tuple[float, float], ...]  # spans with at least one request
    rendering_s: float  # with at least one picture in flight

    @property
    def billed_s(self) -> float:
        """Instance-based billing: the whole life. A GPU has no other."""
        return self.stopped_s - self.started_s

    @property
    def busy_s(self) -> float:
        return sum(end_s - begin_s for begin_s, end_s in self.busy)

    @property
    def billed_while_busy_s(self) -> float:
        """Request-based billing: while it starts and while it answers."""
        return self.ready_s - self.started_s + self.busy_s


class Instance:
    """Requests are known by their numbers; the instance says when it needs to be looked at."""

    def __init__(self, service: Service, started_s: float) -> None:
        self.started_s = started_s
        self.ready_s = started_s + service.start_s
        self.used_slots = 0
        self._service = service
        self._gpu = SharedGpu(service.picture_s, service.marginal_picture, service.max_batch)
        self._requests: dict[int, _Open] = {}
        self._held: list[tuple[float, int]] = []  # (end, request) of those without pictures, a heap
        self._busy: list[tuple[float, float]] = []
        self._changed_s = self.ready_s  # when it last became busy or idle

    def has_room(self, request: Request, now_s: float) -> bool:
        return (
            now_s >= self.ready_s and self.used_slots + request.slots <= self._service.concurrency
        )

    @property
    def idle_since_s(self) -> float | None:
        return None if self._requests else self._changed_s

    @property
    def due_s(self) -> float:
        """When something ends in it by itself; infinite if nothing does."""
        return min(self._gpu.due_s, self._held[0][0] if self._held else math.inf)

    def take(self, number: int, request: Request, now_s: float) -> None:
        """The request is in; it has room. Its pictures begin, or stand in line."""
        if not self._requests:
            self._changed_s = now_s
        together = min(request.num_images, request.at_a_time)
        self._requests[number] = _Open(request, request.num_images, request.num_images - together)
        self.used_slots += request.slots
        for _ in range(together):
            self._gpu.add(number, now_s)
        if not together:
            heapq.heappush(self._held, (now_s + request.held_s, number))

    def answered(self, now_s: float) -> list[int]:
        """Time has passed: the requests that are answered now."""
        ended = []
        for number in self._gpu.take_done(now_s):
            entry = self._requests[number]
            entry.unfinished -= 1
            if entry.unasked:
                entry.unasked -= 1
                self._gpu.add(number, now_s)
            if not entry.unfinished:
                ended.append(number)
        while self._held and self._held[0][0] <= now_s:
            ended.append(heapq.heappop(self._held)[1])
        for number in ended:
            self.used_slots -= self._requests.pop(number).request.slots
        if ended and not self._requests:
            self._busy.append((self._changed_s, now_s))
            self._changed_s = now_s
        return ended

    def stop(self, now_s: float) -> Life:
        return Life(self.started_s, self.ready_s, now_s, tuple(self._busy), self._gpu.rendering_s)


@dataclass
class _Open:
    request: Request
    unfinished: int  # pictures
    unasked: int  # of them, those that come once others are done
