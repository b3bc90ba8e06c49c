"""Who renders next: plain data. No torch, no threads, no clock: `now` is passed in, in seconds.

`Schedule` lives in the parent and decides who gets a row; `next_rows` lives in the render process
and decides which rows move in the next step.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from imagegen.errors import QueueFull
from imagegen.generation import RenderSpec

DEATHS_TO_QUARANTINE = 2
UNMEASURED_RETRY_S = 5.0  # nothing has been rendered yet, so there is no better figure
NEW_SHARE = 0.3  # of the newest picture in the running mean


@dataclass
class Ticket:
    """One picture's place, from its submission to the moment its row is free again."""

    number: int
    caller: str
    deadline_at: float
    deaths: int = 0  # render processes that died while it was in a row
    leaving: bool = False  # its caller has been told; its row is in use until the step ends


class Schedule:
    """Pictures that wait and pictures in rows.

    Callers take turns; each caller's pictures are first come first served. A picture whose render
    process died waits at the front and then runs alone, so that a second death names the guilty.
    """

    def __init__(self, *, max_queue: int, max_rows: int = 1) -> None:
        self._max_queue = max_queue
        self._max_rows = max_rows
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()  # in the order of turns
        self._rows: dict[int, Ticket] = {}
        self._alive: dict[int, Ticket] = {}  # everyone who still waits for an answer
        self._deadlines: list[tuple[float, int]] = []  # a heap; who has left is skipped when met
        self._next_number = 1
        self._picture_s: float | None = None

    @property
    def waiting(self) -> int:
        return sum(len(line) for line in self._waiting.values())

    @property
    def running(self) -> int:
        """Rows in use, also by those who are leaving."""
        return len(self._rows)

    def submit(self, count: int, caller: str, deadline_at: float) -> list[int]:
        """All of `count` pictures get a number, or QueueFull is raised and none does."""
        waiting = self.waiting
        if waiting + count > self._max_queue:
            raise QueueFull(
                f"{waiting} pictures wait already and {count} more do not fit: "
                f"the queue holds {self._max_queue}",
                self._seconds_until_room(waiting + count - self._max_queue),
            )
        tickets = [Ticket(self._next_number + i, caller, deadline_at) for i in range(count)]
        self._next_number += count
        for ticket in tickets:
            self._waiting.setdefault(caller, deque()).append(ticket)
            self._alive[ticket.number] = ticket
            heapq.heappush(self._deadlines, (deadline_at, ticket.number))
        return [ticket.number for ticket in tickets]

    def admit(self) -> list[int]:
        """Gives free rows to those whose turn it is; returns their numbers."""
        admitted = []
        while self._waiting and self._has_room_for(next(iter(self._waiting.values()))[0]):
            caller, line = self._waiting.popitem(last=False)
            ticket = line.popleft()
            if line:
                self._waiting[caller] = line  # the caller's next turn comes after everyone else's
            self._rows[ticket.number] = ticket
            admitted.append(ticket.number)
        return admitted

    def leave(self, number: int) -> bool:
        """The picture is not wanted any more. True if it holds a row, which `retire` will free."""
        ticket = self._alive.pop(number)
        if number in self._rows:
            ticket.leaving = True
            return True
        self._take_from_line(ticket)
        return False

    def retire(self, number: int) -> bool:
        """The picture's row is free. True if somebody still waits for it."""
        self._rows.pop(number, None)
        return self._alive.pop(number, None) is not None

    def expire(self, now: float) -> list[int]:
        """Numbers whose deadline has passed; the caller of this lets them `leave`."""
        expired = []
        while (due := self.due()) is not None and due <= now:
            expired.append(heapq.heappop(self._deadlines)[1])
        return expired

    def due(self) -> float | None:
        """When the next deadline passes."""
        while self._deadlines and self._deadlines[0][1] not in self._alive:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def lost(self, *, blame: bool) -> list[int]:
        """All rows are gone. Their pictures wait again, at the front.

        Returns those that were to blame too often for that; they are out.
        """
        lost = [ticket for ticket in self._rows.values() if not ticket.leaving]
        self._rows.clear()
        for ticket in lost:
            ticket.deaths += blame
        for ticket in reversed(lost):
            if ticket.deaths < DEATHS_TO_QUARANTINE:
                self._waiting.setdefault(ticket.caller, deque()).appendleft(ticket)
                self._waiting.move_to_end(ticket.caller, last=False)
        guilty = [t.number for t in lost if t.deaths >= DEATHS_TO_QUARANTINE]
        for number in guilty:
            del self._alive[number]
        return guilty

    def learn(self, render_s: float) -> None:
        """A picture took so long; call it while its row still counts."""
        share_s = render_s / max(1, self.running)
        known_s = share_s if self._picture_s is None else self._picture_s
        self._picture_s = known_s + NEW_SHARE * (share_s - known_s)

    def _seconds_until_room(self, pictures: int) -> float:
        if self._picture_s is None:
            return UNMEASURED_RETRY_S
        return pictures * self._picture_s

    def _has_room_for(self, ticket: Ticket) -> bool:
        if ticket.deaths or any(row.deaths for row in self._rows.values()):
            return not self._rows
        return len(self._rows) < self._max_rows

    def _take_from_line(self, ticket: Ticket) -> None:
        line = self._waiting[ticket.caller]
        line.remove(ticket)
        if not line:
            del self._waiting[ticket.caller]


def next_rows(specs: Sequence[RenderSpec], limit: int) -> list[int]:
    """Which of the pictures in flight move in the next step: at most `limit` positions in `specs`.

    `specs` is in the order of who has waited longest since its last step, so the first always
    moves. Rows must share the latent's shape, and an `exact` picture is alone.
    """
    first = specs[0]
    if first.exact:
        return [0]
    size = (first.width, first.height)
    fitting = [
        position
        for position, spec in enumerate(specs)
        if (spec.width, spec.height) == size and not spec.exact
    ]
    return fitting[:limit]
