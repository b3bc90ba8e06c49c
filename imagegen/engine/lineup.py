"""Who moves in the next step: the render process's half. No torch, no threads, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from imagegen.engine.messages import Render
from imagegen.generation import RenderSpec, RowLimits

GOOD_STEPS_TO_GROW = 50


@dataclass
class _Shrunk:
    """What is left of a size's limit after out of memory."""

    rows: int
    good_steps: int = 0  # since then, or since it last grew


class Lineup:
    """Chooses the rows of a step, which must share the latents' shape.

    One picture leads: of the share (a caller) that has not led for longest, in it of the shape that
    has not led for longest, in it the picture that has not led for longest. So nothing starves,
    whatever keeps arriving: newcomers queue up behind all who are here. The other rows go to
    pictures of the leader's shape, in turn across shares. An `exact` picture is a shape of its own.
    """

    def __init__(self, limits: RowLimits) -> None:
        self._limits = limits
        self._shrunk: dict[tuple[int, int], _Shrunk] = {}  # by size
        self._last: dict[Hashable, int] = {}  # when who or what came, or last led
        self._moved: dict[int, int] = {}  # by picture: when it last moved
        self._landed: dict[int, int] = {}  # by share: when a picture of it last landed
        self._now = 0  # counts comings and leads

    def choose(self, pictures: Sequence[Render]) -> list[int]:
        """Numbers of those that move now, at least one and no more rows than fit."""
        self._now += 1
        here = {key for picture in pictures for key in _keys(picture)}
        self._last = {key: self._last.get(key, self._now) for key in here}
        leader = min(pictures, key=lambda p: ([self._last[key] for key in _keys(p)], p.number))
        mates = [p for p in pictures if _shape(p) == _shape(leader) and p is not leader]
        chosen = [leader, *self._fill(leader, mates)]
        self._now += 1
        self._last |= dict.fromkeys(_keys(leader), self._now)
        self._moved = {p.number: self._moved[p.number] for p in pictures if p.number in self._moved}
        self._moved |= dict.fromkeys((picture.number for picture in chosen), self._now)
        return [picture.number for picture in chosen]

    def choose_to_land(self, arrived: Sequence[Render]) -> int:
        """The number of the one to decode next: shares take turns, each with his first come first.

        arrived: in the order in which they came.
        """
        self._now += 1
        first = min(arrived, key=lambda picture: self._landed.get(picture.share, 0))
        self._landed = {p.share: self._landed.get(p.share, 0) for p in arrived}
        self._landed[first.share] = self._now
        return first.number

    def shrink(self, specs: Sequence[RenderSpec]) -> None:
        """A step of these did not fit in memory: half of their rows, until some steps were good.

        One that does not even fit alone is no lesson for the others.
        """
        if len(specs) > 1:
            self._shrunk[_size(specs[0])] = _Shrunk(sum(spec.rows for spec in specs) // 2)

    def fitted(self, spec: RenderSpec) -> None:
        """A step of pictures of this size was good. After a while twice the rows are tried."""
        shrunk = self._shrunk.get(_size(spec))
        if shrunk is None:
            return
        shrunk.good_steps += 1
        if shrunk.good_steps < GOOD_STEPS_TO_GROW:
            return
        shrunk.rows, shrunk.good_steps = 2 * shrunk.rows, 0
        if shrunk.rows >= self._limits.at(spec.width, spec.height):
            del self._shrunk[_size(spec)]

    def idle(self) -> None:
        """Nothing is in flight: what did not fit before may fit now."""
        self._shrunk.clear()

    def _fill(self, leader: Render, mates: Sequence[Render]) -> list[Render]:
        """By rounds: each share's most urgent picture, then each one's second, …

        In a round, who has not moved for longest comes first, and who has just come before all.
        """
        rounds = Counter({leader.share: 1})
        order = []
        for picture in sorted(mates, key=lambda p: (p.deadline_at, p.number)):
            order.append((rounds[picture.share], self._moved.get(picture.number, 0), picture))
            rounds[picture.share] += 1
        room = self._rows_at(leader.spec) - leader.spec.rows
        chosen = []
        for _, _, picture in sorted(order, key=lambda entry: entry[:2]):
            if picture.spec.rows <= room:
                room -= picture.spec.rows
                chosen.append(picture)
        return chosen

    def _rows_at(self, spec: RenderSpec) -> int:
        fitting = self._limits.at(spec.width, spec.height)
        shrunk = self._shrunk.get(_size(spec))
        return fitting if shrunk is None else min(fitting, shrunk.rows)


def _size(spec: RenderSpec) -> tuple[int, int]:
    return spec.width, spec.height


def _shape(picture: Render) -> Hashable:
    return _size(picture.spec), picture.number if picture.spec.exact else None


def _keys(picture: Render) -> tuple[Hashable, Hashable, Hashable]:
    """Whose turns are counted: the share's, of its shape, the picture's."""
    share = "share", picture.share
    return share, (share, _shape(picture)), picture.number
