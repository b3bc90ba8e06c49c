"""Writes the figures of bench/results/*.json into docs/performance.md, between its markers.

python -m bench.report           writes the page
python -m bench.report --check   says whether it is up to date; exit code 1 if not
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from bench.machine import REPOSITORY
from bench.pairs import RESULTS

PAGE = REPOSITORY / "docs" / "performance.md"
_SECTION = re.compile(r"(<!-- results: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = """\
| | {other} | {ours} | | ratio, median (min – max) | goal | |
|---|--:|--:|---|--:|---|---|
"""


def with_results(page: str, results: Path) -> str:
    """The page with every section's figures as the files in `results` say them."""

    def fill(section: re.Match[str]) -> str:
        file = results / f"{section[2]}.json"
        text = _figures(json.loads(file.read_text())) if file.exists() else "Not measured yet.\n"
        return f"{section[1]}{text}{section[3]}"

    return _SECTION.sub(fill, page)


def _figures(facts: dict[str, Any]) -> str:
    comparisons, machine = facts["comparisons"], facts["machine"]
    names = {(each["other"], each["ours"]) for each in comparisons}
    other, ours = names.pop() if len(names) == 1 else ("other", "ours")
    lines = [_HEAD.format(other=other, ours=ours), *map(_line, comparisons), "\n"]
    if alike := [f"{each['what']}: {each['alike']}" for each in comparisons if each["alike"]]:
        lines.append("; ".join(alike) + ".\n\n")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    changed = " with changes" if machine["dirty"] else ""
    pairs = " and ".join(sorted({str(len(each["pairs"])) for each in comparisons}))
    lines.append(
        f"{machine['device']}; commit `{machine['commit']}`{changed}; {machine['date']} UTC; "
        f"{pairs} pairs; {versions}.\n"
    )
    return "".join(lines)


def _line(each: dict[str, Any]) -> str:
    ratio = each["ratio"]
    cells = (
        each["what"],
        _number(each["other_median"]),
        _number(each["ours_median"]),
        each["unit"],
        f"**{_number(ratio['median'])}** ({_number(ratio['min'])} – {_number(ratio['max'])})",
        " or ".join(_in_words(goal) for goal in each["goals"]),
        {True: "met", False: "**missed**", None: ""}[each["met"]],
    )
    return f"| {' | '.join(cells)} |\n"


def _number(value: float) -> str:
    """Three digits that mean something: 0.0123, 1.23, 123, 12,345."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _in_words(goal: str) -> str:
    return goal.replace(">=", "≥").replace("<=", "≤")


def main(arguments: list[str]) -> int:
    page = PAGE.read_text()
    written = with_results(page, RESULTS)
    if arguments == ["--check"]:
        print("up to date" if written == page else f"{PAGE.name} is not what the results say")
        return int(written != page)
    PAGE.write_text(written)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
