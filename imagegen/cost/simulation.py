"""A service on Cloud Run as a discrete-event model: plain data in, plain data out, no clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagegen.cost.instance import Instance, Life, Request, Service
from imagegen.cost.trace import DAY_S

_HOUR_S = 3_600.0


@dataclass(frozen=True)
class Run:
    """What became of each request, in their order, and of each instance."""

    answered_s: tuple[float | None, ...]  # when; None is a refusal (429)
    lives: tuple[Life, ...]


def simulate(requests: Sequence[Request], service: Service, horizon_s: float = 0.0) -> Run:
    """Replays requests, which are in the order of their times, through one service.

    Cloud Run as its documentation describes it: an instance starts when there is none, or when
    more than `scale_at` of the instances' concurrency is used; a request goes to the ready
    instance with the fewest requests, else it pends, and is refused after a while; an instance
    that has been idle for `idle_tail_s` stops. What is simplified: docs/cost.md.
    horizon_s: until when warm hours repeat each day.
    """
    return _Simulation(requests, service, horizon_s).run()


class _Simulation:
    """Jumps from one moment at which something happens to the next."""

    def __init__(self, requests: Sequence[Request], service: Service, horizon_s: float) -> None:
        self._requests = requests
        self._service = service
        self._horizon_s = horizon_s
        self._warm_moments = deque(_warm_moments(service.warm_hours, horizon_s))
        self._now_s = -math.inf
        self._arrived = 0
        self._pending: list[int] = []  # requests by number, first come first
        self._live: list[Instance] = []
        self._answered_s: list[float | None] = [None] * len(requests)
        self._lives: list[Life] = []

    def run(self) -> Run:
        while (now_s := min(self._moments(), default=math.inf)) < math.inf:
            self._now_s = now_s
            self._hear_answers()
            self._hear_arrivals()
            self._place()
            self._refuse()
            self._start()
            self._stop()
        lives = sorted(self._lives, key=lambda life: life.started_s)
        return Run(tuple(self._answered_s), tuple(lives))

    def _moments(self) -> Iterator[float]:
        """When something may happen next."""
        if self._warm_moments:
            yield self._warm_moments[0]
        if self._arrived < len(self._requests):
            yield self._requests[self._arrived].at_s
        for number in self._pending:
            yield self._gives_up_s(number)
        for instance in self._live:
            yield instance.due_s
            yield self._stops_s(instance)
            if instance.ready_s > self._now_s:
                yield instance.ready_s

    def _hear_answers(self) -> None:
        for instance in self._live:
            for number in instance.answered(self._now_s):
                self._answered_s[number] = self._now_s

    def _hear_arrivals(self) -> None:
        while self._warm_moments and self._warm_moments[0] <= self._now_s:
            self._warm_moments.popleft()
        while (
            self._arrived < len(self._requests)
            and self._requests[self._arrived].at_s <= self._now_s
        ):
            self._pending.append(self._arrived)
            self._arrived += 1

    def _place(self) -> None:
        """To the instance with the fewest requests; one that needs less room may pass another."""
        left = []
        for number in self._pending:
            request = self._requests[number]
            free = [one for one in self._live if one.has_room(request, self._now_s)]
            if free:
                min(free, key=lambda one: one.used_slots).take(number, request, self._now_s)
            else:
                left.append(number)
        self._pending = left

    def _refuse(self) -> None:
        self._pending = [each for each in self._pending if self._gives_up_s(each) > self._now_s]

    def _gives_up_s(self, number: int) -> float:
        service, request = self._service, self._requests[number]
        pends_s = max(service.pend_s, service.pend_starts * service.start_s)
        return request.at_s + max(pends_s, request.patience_s)

    def _start(self) -> None:
        """As many instances as the open requests want, and one in warm hours."""
        service = self._service
        used = sum(instance.used_slots for instance in self._live)
        used += sum(self._requests[number].slots for number in self._pending)
        # one request alone never asks for a second instance, whatever the concurrency
        wanted = math.ceil(used / max(1.0, service.scale_at * service.concurrency))
        wanted = max(wanted, int(self._is_warm()))
        while len(self._live) < min(wanted, service.max_instances):
            self._live.append(Instance(service, self._now_s))

    def _stop(self) -> None:
        for instance in list(self._live):
            if self._stops_s(instance) <= self._now_s:
                self._live.remove(instance)
                self._lives.append(instance.stop(self._now_s))

    def _stops_s(self, instance: Instance) -> float:
        """When its idle tail ends. In warm hours the last one stays: their end looks again."""
        idle_since_s = instance.idle_since_s
        if idle_since_s is None or (len(self._live) == 1 and self._is_warm()):
            return math.inf
        return idle_since_s + self._service.idle_tail_s

    def _is_warm(self) -> bool:
        hours = self._service.warm_hours
        if hours is None or not 0 <= self._now_s < self._horizon_s:
            return False
        return hours[0] * _HOUR_S <= self._now_s % DAY_S < hours[1] * _HOUR_S


def _warm_moments(hours: tuple[float, float] | None, horizon_s: float) -> Iterator[float]:
    """The seconds at which warm hours begin or end, in order."""
    if hours is None:
        return
    for day in range(math.ceil(horizon_s / DAY_S)):
        for hour in hours:
            yield day * DAY_S + hour * _HOUR_S
