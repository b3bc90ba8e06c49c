"""Two sides run in turn, A B A B …: what counts is the ratio within each pair.

Machines are shared and noisy; a figure alone says little. Each benchmark is a script,
`python -m bench.NAME [--pairs 5] [--smoke]`: it prints a table and writes bench/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.machine import Machine, this_machine

RESULTS = Path(__file__).with_name("results")

Side = Callable[[], float]


@dataclass(frozen=True)
class Goal:
    """What a median has to reach: of the ratio, of our figure, or of ours minus the other's."""

    of: Literal["ratio", "figure", "difference"]
    at: Literal[">=", "<="]
    value: float

    def met(self, measured: float) -> bool:
        return measured >= self.value if self.at == ">=" else measured <= self.value

    def __str__(self) -> str:
        return f"{self.of} {self.at} {self.value:g}"


@dataclass(frozen=True)
class Comparison:
    """One line of a table: what two sides came to, pair by pair."""

    what: str
    unit: str  # of the figures
    other: str  # the side compared with
    ours: str
    pairs: tuple[tuple[float, float], ...]  # the other side's figure, ours
    goals: tuple[Goal, ...] = ()  # one of them is enough
    alike: str = ""  # how alike the pictures of both sides are

    @property
    def other_median(self) -> float:
        return median(other for other, _ in self.pairs)

    @property
    def ours_median(self) -> float:
        return median(ours for _, ours in self.pairs)

    @property
    def ratios(self) -> list[float]:
        """Ours over the other side's, pair by pair."""
        return [ours / other for other, ours in self.pairs]

    @property
    def met(self) -> bool | None:
        if not self.goals:
            return None
        medians = {
            "ratio": median(self.ratios),
            "figure": self.ours_median,
            "difference": median(ours - other for other, ours in self.pairs),
        }
        return any(goal.met(medians[goal.of]) for goal in self.goals)

    def to_json(self) -> dict[str, Any]:
        ratios = self.ratios
        return asdict(self) | {
            "goals": [str(goal) for goal in self.goals],
            "met": self.met,
            "other_median": self.other_median,
            "ours_median": self.ours_median,
            "ratio": {"median": median(ratios), "min": min(ratios), "max": max(ratios)},
        }


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    pairs: int
    smoke: bool  # the smallest size that runs every line; its figures mean nothing


def in_turn(other: Side, ours: Side, pairs: int) -> tuple[tuple[float, float], ...]:
    """Each side once to warm up, then A B A B …; (other, ours) per pair."""
    other()
    ours()
    return tuple((other(), ours()) for _ in range(pairs))


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as lines for a terminal."""
    head = ("", "other", "ours", "unit", "ratio", "min-max", "goal", "")
    rows = [head, *(_cells(each) for each in comparisons)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _cells(each: Comparison) -> tuple[str, ...]:
    return (
        each.what,
        f"{each.other_median:.4g}",
        f"{each.ours_median:.4g}",
        each.unit,
        f"{median(each.ratios):.3g}",
        f"{min(each.ratios):.3g}-{max(each.ratios):.3g}",
        " or ".join(map(str, each.goals)),
        {True: "met", False: "MISSED", None: ""}[each.met],
    )


def write_results(
    name: str, description: str, comparisons: Sequence[Comparison], machine: Machine, folder: Path
) -> Path:
    """`folder`/`name`.json: everything that docs/performance.md shows, and every pair."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "benchmark": name,
        "description": description,
        "machine": asdict(machine),
        "comparisons": [each.to_json() for each in comparisons],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return path


def run_benchmark(
    name: str,
    description: str,
    measure: Callable[[Options], Iterable[Comparison]],
    arguments: Sequence[str] | None = None,
    *,
    cuda: bool = False,
) -> int:
    """The script of one benchmark. A smoke run writes no result unless told where.

    What is measured is written at once: a run that is ended early keeps it.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}", description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--pairs", type=int, help="A B pairs; 5, and 1 in a smoke run")
    parser.add_argument("--smoke", action="store_true", help="the smallest size; means nothing")
    parser.add_argument("--results", type=Path, help=f"folder for NAME.json; {RESULTS.name}")
    parser.add_argument("--commit", help="what to call the commit where there is no git")
    said = parser.parse_args(arguments)
    pairs = said.pairs or (1 if said.smoke else 5)
    machine = this_machine(cuda=cuda and not said.smoke, commit=said.commit)
    changed = ", with changes" if machine.dirty else ""
    print(f"{name}: {machine.device}; commit {machine.commit}{changed}; {pairs} pairs", flush=True)
    folder = said.results or (None if said.smoke else RESULTS)
    found: list[Comparison] = []
    for comparison in measure(Options(pairs, said.smoke)):
        found.append(comparison)
        print(f"{comparison.what}: done; {comparison.alike}", flush=True)
        if folder is not None:
            write_results(name, description, found, machine, folder)
    print(table(found))
    return 0
