"""A sparse working day of a marketing team, drawn by a rule that was written before any result.

python -m bench.sparse_day          prints the day that `imagegen cost` replays by default

Between nine and six, six people look at the studio or the gallery four times each at random
moments; a look is three requests. Five times somebody makes pictures: four to six requests, one to
four minutes apart, of one, two or four pictures. At half past six a campaign's script makes eighty.
"""

from __future__ import annotations

import sys
from random import Random
from typing import Literal

Row = tuple[float, Literal["page", "generate", "batch"], int]  # seconds since midnight, images

PEOPLE = 6
MORNING_S, EVENING_S, SCRIPT_S = 9 * 3600, 18 * 3600, 18.5 * 3600
SCRIPT_IMAGES = 80


def working_day(seed: int, *, looks_each: int = 4, sessions: int = 5) -> list[Row]:
    """The rows of one day, in order."""
    chance = Random(seed)
    rows: list[Row] = [(SCRIPT_S, "batch", SCRIPT_IMAGES)]
    for _ in range(PEOPLE * looks_each):
        at_s = chance.uniform(MORNING_S, EVENING_S)
        for _ in range(3):
            rows.append((round(at_s), "page", 0))
            at_s += chance.uniform(10, 60)
    for _ in range(sessions):
        at_s = chance.uniform(MORNING_S, EVENING_S)
        for _ in range(chance.randint(4, 6)):
            rows.append((round(at_s), "generate", chance.choice((1, 2, 4))))
            at_s += chance.uniform(60, 240)
    return sorted(rows)


def as_csv(rows: list[Row]) -> str:
    lines = [f"{_clock(at_s)},{kind},{images or ''}\n" for at_s, kind, images in rows]
    return "time,kind,num_images\n" + "".join(lines)


def _clock(at_s: float) -> str:
    minutes, seconds = divmod(int(at_s), 60)
    return f"2026-11-24T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}Z"  # a Tuesday


if __name__ == "__main__":
    sys.stdout.write(as_csv(working_day(seed=1)))
