"""Who is rendered, the parent's half: which pictures are in flight.

No torch, no threads, no clock: `now` is passed in, in seconds. Which of them move in the next step
is decided by `lineup.py`, in the render process.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from imagegen.errors import QueueFull
from imagegen.generation import RenderSpec, RowLimits

DEATHS_TO_QUARANTINE = 2  # the last of them alone
UNMEASURED_RETRY_S = 5.0  # no step has been measured yet, so there is no better figure
NEW_SHARE = 0.3  # of the newest step in the running mean
FULL = 2  # batches in flight at most, so that a newcomer need not wait for a full one's end


@dataclass
class Ticket:
    """One picture's place, from its submission to the moment its rows are free again."""

    number: int
    caller: str
    spec: RenderSpec
    deadline_at: float
    steps_left: int
    share: int = 0  # stands for the caller in the render process, which must not know him
    deaths: int = 0  # render processes that died while they worked on it
    company: int = 0  # if one did: how many may be in flight with it at most, itself included
    leaving: bool = False  # its caller has been told; its rows are in use until the step ends

    @property
    def row_pixels(self) -> int:
        """What one step of it weighs."""
        return self.spec.rows * self.spec.pixels

    @property
    def urgency(self) -> tuple[float, int]:
        """A caller's earliest deadline first, then first come first served."""
        return self.deadline_at, self.number


class Schedule:
    """Pictures that wait and pictures in flight.

    What is in flight is measured in batches: a picture's rows over the rows that fit at its size.
    Callers take turns while one batch has room. Beyond it, up to two, a caller still gets his
    share: one picture, or a batch divided by the callers. So a caller with 200 pictures delays
    another's single one by no more than the steps that they share.

    Pictures on which the render process died wait at the front. A quarter of them are tried
    together with nobody else, after another death a quarter of those, at last one alone: so a death
    names the guilty, and the innocent, all of them where the cause lay outside, soon move on.
    """

    def __init__(self, *, max_queue: int) -> None:
        self.limits = RowLimits()  # known once the model is
        self._max_queue = max_queue
        self._lines: OrderedDict[str, list[Ticket]] = OrderedDict()  # in the order of turns
        self._suspects: list[Ticket] = []
        self._in_flight: dict[int, Ticket] = {}
        self._alive: dict[int, Ticket] = {}  # everyone who still waits for an answer
        self._deadlines: list[tuple[float, int]] = []  # a heap; who has left is skipped when met
        self._next_number = 1
        self._row_pixel_s: float | None = None  # seconds a step takes per row and pixel

    @property
    def waiting(self) -> int:
        return len(self._suspects) + sum(len(line) for line in self._lines.values())

    @property
    def running(self) -> int:
        """Pictures in flight, also those that are leaving."""
        return len(self._in_flight)

    def submit(
        self,
        specs: Sequence[RenderSpec],
        caller: str,
        deadline_at: float,
        most_waiting: int | None = None,
    ) -> list[int]:
        """Every picture gets a number, or QueueFull is raised and none does.

        most_waiting: how many of his may wait, his earlier ones included.
        """
        if most_waiting is not None:
            self._refuse_more_than(most_waiting, caller, len(specs))
        too_many = self.waiting + len(specs) - self._max_queue
        if too_many > 0:
            raise QueueFull(
                f"{self.waiting} pictures wait already and {len(specs)} more do not fit: "
                f"the queue holds {self._max_queue}",
                self._seconds_until_left(too_many),
            )
        numbers = []
        for spec in specs:
            number = self._next_number
            self._next_number += 1
            ticket = Ticket(number, caller, spec, deadline_at, spec.step_count)
            self._alive[number] = ticket
            heapq.heappush(self._deadlines, (deadline_at, number))
            self._stand_in_line(ticket)
            numbers.append(number)
        return numbers

    def admit(self) -> list[Ticket]:
        """Takes off those whose turn it is."""
        admitted = []
        while (ticket := self._pop_next()) is not None:
            ticket.share = self._share_of(ticket.caller)
            ticket.steps_left = ticket.spec.step_count
            self._in_flight[ticket.number] = ticket
            admitted.append(ticket)
        return admitted

    def leave(self, number: int) -> bool:
        """The picture is not wanted any more. True if it is in flight, which `retire` will end."""
        ticket = self._alive.pop(number)
        if number in self._in_flight:
            ticket.leaving = True
            return True
        if ticket in self._suspects:
            self._suspects.remove(ticket)
        else:
            self._leave_line(ticket)
        return False

    def retire(self, number: int) -> bool:
        """The picture's rows are free. True if somebody still waits for it."""
        self._in_flight.pop(number, None)
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

    def lost(self, suspects: Collection[int]) -> list[int]:
        """The render process has died, working on `suspects`. What was in flight waits again.

        Returns those that have been suspected too often for that; they are out.
        """
        lost = [ticket for ticket in self._in_flight.values() if not ticket.leaving]
        self._in_flight.clear()
        alone = len(suspects) == 1
        guilty = []
        for ticket in reversed(lost):
            if ticket.number in suspects:
                ticket.deaths += 1
                ticket.company = max(1, len(suspects) // 4)
            if alone and ticket.number in suspects and ticket.deaths >= DEATHS_TO_QUARANTINE:
                del self._alive[ticket.number]
                guilty.append(ticket.number)
            elif ticket.deaths:
                insort(self._suspects, ticket, key=lambda other: other.urgency)
            else:
                self._stand_in_line(ticket)
                self._lines.move_to_end(ticket.caller, last=False)
        return guilty

    def moved(self, number: int, steps_left: int) -> None:
        if number in self._in_flight:
            self._in_flight[number].steps_left = steps_left

    def learn(self, seconds: float, row_pixels: int) -> None:
        """A step of so many rows times pixels took so long."""
        new_s = seconds / row_pixels
        known_s = new_s if self._row_pixel_s is None else self._row_pixel_s
        self._row_pixel_s = known_s + NEW_SHARE * (new_s - known_s)

    def _refuse_more_than(self, most_waiting: int, caller: str, more: int) -> None:
        suspected = sum(ticket.caller == caller for ticket in self._suspects)
        waiting = len(self._lines.get(caller, ())) + suspected
        too_many = waiting + more - most_waiting
        if too_many > 0:
            raise QueueFull(
                f"{waiting} of your pictures wait already and {more} more do not fit: "
                f"a caller may have {most_waiting} in the queue",
                self._seconds_until_left(too_many),
            )

    def _seconds_until_left(self, pictures: int) -> float:
        """Until so many have been rendered and as many of those who wait have taken their rows."""
        if self._row_pixel_s is None:
            return UNMEASURED_RETRY_S
        flying = sorted(0 if t.leaving else t.steps_left for t in self._in_flight.values())
        if pictures <= len(flying):  # rows that become free are taken: a step stays as long
            row_pixels = sum(ticket.row_pixels for ticket in self._in_flight.values())
            return flying[pictures - 1] * row_pixels * self._row_pixel_s
        ahead = [*self._suspects, *(ticket for line in self._lines.values() for ticket in line)]
        work = [*self._in_flight.values(), *ahead[: pictures - len(flying)]]
        return sum(ticket.steps_left * ticket.row_pixels for ticket in work) * self._row_pixel_s

    def _pop_next(self) -> Ticket | None:
        suspected = [ticket for ticket in self._in_flight.values() if ticket.deaths]
        if suspected or self._suspects:  # nobody else has been let in since the death
            together = [*suspected, *self._suspects[:1]]
            most = min(ticket.company for ticket in together)
            return self._suspects.pop(0) if self._suspects and len(together) <= most else None
        batches = self._batches_by_caller() if self._lines else {}
        flying = sum(batches.values(), start=Fraction(0))
        share = Fraction(1, max(1, len(self._lines.keys() | batches.keys())))
        for caller, line in self._lines.items():
            size = self._size(line[0])
            everyone = flying + size
            own = batches.get(caller, 0) + size
            if everyone > 1 and own > max(size, share):
                continue  # he has his share; those behind him shall get theirs
            if everyone > FULL:
                return None  # only a full house keeps him out: nobody overtakes him
            ticket = line[0]
            self._leave_line(ticket)
            if caller in self._lines:
                self._lines.move_to_end(caller)  # his next turn comes after everyone else's
            return ticket
        return None

    def _stand_in_line(self, ticket: Ticket) -> None:
        line = self._lines.setdefault(ticket.caller, [])
        insort(line, ticket, key=lambda other: other.urgency)

    def _leave_line(self, ticket: Ticket) -> None:
        line = self._lines[ticket.caller]
        line.remove(ticket)
        if not line:
            del self._lines[ticket.caller]

    def _size(self, ticket: Ticket) -> Fraction:
        """In batches of pictures like this one."""
        return Fraction(ticket.spec.rows, self.limits.at(ticket.spec.width, ticket.spec.height))

    def _batches_by_caller(self) -> dict[str, Fraction]:
        """What each has in flight."""
        batches: dict[str, Fraction] = {}
        for ticket in self._in_flight.values():
            batches[ticket.caller] = batches.get(ticket.caller, Fraction(0)) + self._size(ticket)
        return batches

    def _share_of(self, caller: str) -> int:
        """The number of his pictures in flight, or the first that nobody has."""
        taken = {ticket.share: ticket.caller for ticket in self._in_flight.values()}
        own = [share for share, owner in taken.items() if owner == caller]
        return own[0] if own else next(n for n in count() if n not in taken)
