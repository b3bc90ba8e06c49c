"""cost: dollars a picture on twenty sparse days, simulated, against the naive service.

Nothing is measured: the days are those of bench/sparse_day.py, drawn by its rule with the seeds
1 to 4 * --pairs; the model is that of `imagegen cost` with its own assumptions (docs/cost.md).
Ours has its pages on a CPU and its scripts as jobs. Naive is one service with the GPU for all of
it; in the last line its pages are elsewhere, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bench.pairs import Comparison, Goal, Options, run_benchmark
from bench.sparse_day import working_day
from imagegen.cost.assumptions import Assumptions
from imagegen.cost.prices import PriceTable
from imagegen.cost.report import summarise
from imagegen.cost.scenarios import Scenario, play
from imagegen.cost.trace import Arrival, Kind, Trace
from imagegen.settings import Settings

NAIVE = Scenario("naive", is_naive=True)
NAIVE_APART = Scenario("naive, pages elsewhere", is_naive=True, has_web=True)
OURS = Scenario("+ both", has_web=True, has_jobs=True)
DAYS_A_PAIR = 4
COST = Goal("ratio", "<=", 1 / 5)


def measure(options: Options) -> Iterator[Comparison]:
    days = options.pairs * DAYS_A_PAIR
    yield compare("sparse day: 5 sessions, 24 looks", NAIVE, days, goals=(COST,))
    yield compare("2 sessions, 24 looks", NAIVE, days, sessions=2)
    yield compare("20 sessions, 24 looks", NAIVE, days, sessions=20)
    yield compare("5 sessions, naive's pages elsewhere", NAIVE_APART, days)


def compare(
    what: str, other: Scenario, days: int, *, sessions: int = 5, goals: tuple[Goal, ...] = ()
) -> Comparison:
    """A pair is one day, replayed under both scenarios."""
    pairs = tuple(day(seed, sessions, other) for seed in range(1, days + 1))
    return Comparison(what, "$ a picture", "naive", "imagegen", pairs, goals)


def day(seed: int, sessions: int, other: Scenario) -> tuple[float, float]:
    rows = working_day(seed, sessions=sessions)
    trace = Trace(tuple(Arrival(at_s, Kind(kind), images) for at_s, kind, images in rows))
    played = [play(trace, scenario, Assumptions()) for scenario in (other, OURS)]
    theirs, ours = (one.usd_per_picture for one in summarise(played, PriceTable.of(Settings())))
    assert theirs is not None
    assert ours is not None
    return theirs, ours


if __name__ == "__main__":
    sys.exit(run_benchmark("cost", __doc__, measure))
