"""What the scenarios came to: figures a scenario, and the table that people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from imagegen.cost.prices import PriceTable
from imagegen.cost.scenarios import Played
from imagegen.cost.trace import Kind, Trace

_HOUR_S = 3_600


@dataclass(frozen=True)
class Summary:
    """One line of the table. None where there was nothing to divide by or to wait for."""

    scenario: str
    pictures: int
    usd: float
    usd_per_picture: float | None
    times_below_naive: float | None
    gpu_hours: float  # billed
    rendering_share: float | None  # of the billed hours
    cold_starts: int  # instances with a GPU that were started, a job's tasks too
    picture_wait_p50_s: float | None
    picture_wait_p95_s: float | None
    page_wait_p95_s: float | None
    refused: int


def summarise(played: Sequence[Played], prices: PriceTable) -> list[Summary]:
    """The figures of each scenario; the first one is what the others are compared with."""
    usd = [prices.render_usd(one.gpu_billed_s) + prices.web_usd(one.web_billed_s) for one in played]
    naive = _over(usd[0], played[0].pictures)
    return [_summary(one, spent, naive) for one, spent in zip(played, usd, strict=True)]


def _summary(played: Played, usd: float, naive_usd_per_picture: float | None) -> Summary:
    each = _over(usd, played.pictures)
    return Summary(
        scenario=played.scenario.name,
        pictures=played.pictures,
        usd=usd,
        usd_per_picture=each,
        times_below_naive=_over(naive_usd_per_picture, each),
        gpu_hours=played.gpu_billed_s / _HOUR_S,
        rendering_share=_over(played.rendering_s, played.gpu_billed_s),
        cold_starts=len(played.lives),
        picture_wait_p50_s=percentile(played.picture_waits_s, 0.5),
        picture_wait_p95_s=percentile(played.picture_waits_s, 0.95),
        page_wait_p95_s=percentile(played.page_waits_s, 0.95),
        refused=played.refused,
    )


def _over(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def percentile(values: Sequence[float], part: float) -> float | None:
    """The smallest value that at least `part` of them do not exceed (nearest rank)."""
    if not values:
        return None
    return sorted(values)[math.ceil(part * len(values)) - 1]


_COLUMNS = (
    ("$/picture", "usd_per_picture", "{:.4f}"),
    ("below naive", "times_below_naive", "{:.1f}x"),
    ("$", "usd", "{:,.2f}"),
    ("GPU h", "gpu_hours", "{:,.2f}"),
    ("rendering", "rendering_share", "{:.0%}"),
    ("starts", "cold_starts", "{:,}"),
    ("p50 s", "picture_wait_p50_s", "{:,.1f}"),
    ("p95 s", "picture_wait_p95_s", "{:,.1f}"),
    ("page p95 s", "page_wait_p95_s", "{:,.1f}"),
    ("refused", "refused", "{:,}"),
)


def table(summaries: Sequence[Summary]) -> str:
    """The summaries as lines of text."""
    rows = [["", *(head for head, _, _ in _COLUMNS)], *map(_cells, summaries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _cells(summary: Summary) -> list[str]:
    values = asdict(summary)
    return [
        summary.scenario,
        *("–" if values[name] is None else form.format(values[name]) for _, name, form in _COLUMNS),
    ]


def contents(trace: Trace) -> dict[str, int]:
    """How many of what a trace asks for."""
    return {
        "pages": len(trace.of(Kind.PAGE)),
        "requests": len(trace.of(Kind.GENERATE)),
        "scripts": len(trace.of(Kind.BATCH)),
        "pictures": sum(arrival.num_images for arrival in trace.arrivals),
        "days": round(trace.horizon_s / (24 * _HOUR_S)),
    }
