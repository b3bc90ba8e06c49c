"""The plot: when instances with a GPU were alive under each scenario, as an SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from imagegen.cost.instance import Life
from imagegen.cost.report import Summary
from imagegen.cost.scenarios import Played
from imagegen.cost.trace import DAY_S, Kind, Trace

_HOUR_S = 3_600.0
_LEFT, _RIGHT, _WIDTH = 178, 760, 900  # pixels: where the time axis begins and ends; the picture
_TOP, _LANE, _BAR = 92, 34, 20
_MOST_LABELS = 12
_DETAIL_S = 120.0  # a pixel; on a longer axis a whole pixel for each answer would hide idleness
_STEPS_S = tuple(hours * _HOUR_S for hours in (1, 2, 3, 6, 12, 24, 48, 168, 672, 1344))

_Span = tuple[float, float]

_STYLE = """\
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #374151 }
.head { font-size: 15px; font-weight: 600; fill: #111827 }
.quiet { fill: #6b7280 } .strong { font-weight: 600; fill: #111827 }
.grid { stroke: #e5e7eb }
.starting { fill: #94a3b8 } .serving { fill: #0f766e } .idle { fill: #f5cf94 }
.page { stroke: #94a3b8 } .generate { stroke: #0f766e } .batch { stroke: #b45309; stroke-width: 3 }
"""
_LEGEND = (("starting", "starts"), ("serving", "serves"), ("idle", "is idle and billed"))


def plot(trace: Trace, played: Sequence[Played], summaries: Sequence[Summary]) -> str:
    """A lane a scenario; in it a bar for each instance with a GPU, from its start to its end."""
    axis = _Axis.around(trace, played)
    bottom = _TOP + _LANE * len(played)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 34}" role="img"'
        ' aria-label="When instances with a GPU were billed, scenario by scenario">',
        f"<style>\n{_STYLE}</style>",
        '<rect width="100%" height="100%" rx="8" fill="#fff"/>',
        _text(20, 28, "When instances with a GPU were billed", "head"),
        *_legend(),
        *axis.grid(_TOP - 8, bottom),
        *_arrivals(trace, axis),
    ]
    for lane, (one, summary) in enumerate(zip(played, summaries, strict=True)):
        parts += _lane(_TOP + lane * _LANE, one, summary, axis)
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True)
class _Axis:
    """Seconds to pixels."""

    begin_s: float
    end_s: float
    step_s: float  # between two labels

    @classmethod
    def around(cls, trace: Trace, played: Sequence[Played]) -> _Axis:
        """From the first moment to the last at which anything is to be seen, in whole steps."""
        lives = [life for one in played for life in one.lives]
        first_s = min([each.at_s for each in trace.arrivals] + [life.started_s for life in lives])
        last_s = max([each.at_s for each in trace.arrivals] + [life.stopped_s for life in lives])
        fitting = (step for step in _STEPS_S if (last_s - first_s) / step < _MOST_LABELS - 1)
        step_s = next(fitting, _STEPS_S[-1])
        begin_s = math.floor(first_s / step_s) * step_s
        return cls(begin_s, max(math.ceil(last_s / step_s) * step_s, begin_s + step_s), step_s)

    def x(self, at_s: float) -> float:
        part = (at_s - self.begin_s) / (self.end_s - self.begin_s)
        return _LEFT + part * (_RIGHT - _LEFT)

    @property
    def pixel_s(self) -> float:
        return (self.end_s - self.begin_s) / (_RIGHT - _LEFT)

    def grid(self, top: float, bottom: float) -> Iterator[str]:
        for number in range(round((self.end_s - self.begin_s) / self.step_s) + 1):
            at_s = self.begin_s + number * self.step_s
            x = f"{self.x(at_s):.1f}"
            yield f'<path class="grid" d="M{x} {top}V{bottom}"/>'
            yield _text(self.x(at_s), bottom + 18, self._label(at_s), "quiet", "middle")

    def _label(self, at_s: float) -> str:
        day, second = divmod(at_s, DAY_S)
        if self.step_s >= DAY_S:
            return f"day {day + 1:.0f}"
        return f"{second // _HOUR_S:02.0f}:00"


def _legend() -> Iterator[str]:
    x = 400.0
    yield _text(x, 28, "an instance", "quiet")
    x += 78
    for kind, words in _LEGEND:
        yield f'<rect class="{kind}" x="{x}" y="18" width="12" height="12" rx="2"/>'
        yield _text(x + 17, 28, words, "quiet")
        x += 28 + 7 * len(words)


def _arrivals(trace: Trace, axis: _Axis) -> Iterator[str]:
    """A tick for each arrival, one line a kind; ticks that would fall together are one."""
    yield _text(20, 66, "asked for", "quiet")
    for kind, top, height in ((Kind.PAGE, 52, 6), (Kind.GENERATE, 61, 10), (Kind.BATCH, 61, 10)):
        places = sorted({round(axis.x(arrival.at_s)) for arrival in trace.of(kind)})
        if places:
            ticks = "".join(f"M{x} {top}v{height}" for x in places)
            yield f'<path class="{kind}" d="{ticks}"/>'
    yield _text(_RIGHT + 10, 59, "pages", "quiet")
    yield _text(_RIGHT + 10, 72, "pictures, scripts", "quiet")


def _lane(top: float, played: Played, summary: Summary, axis: _Axis) -> Iterator[str]:
    middle = top + _BAR / 2 + 4
    indent = 12 if summary.scenario.startswith("+") else 0
    yield _text(20 + indent, middle, summary.scenario)
    rows = _side_by_side(played.lives)
    height = _BAR / max(1, len(rows))
    for row, lives in enumerate(rows):
        y = top + row * height
        yield from _bars(
            "idle", [(each.started_s, each.stopped_s) for each in lives], y, height, axis
        )
        starting = [(each.started_s, each.ready_s) for each in lives]
        yield from _bars("starting", starting, y, height, axis)
        busy = [span for each in lives for span in each.busy]
        yield from _bars("serving", busy, y, height, axis)
    price = "–" if summary.usd_per_picture is None else f"${summary.usd_per_picture:.4f}"
    yield _text(_RIGHT + 10, middle - 6, f"{price} a picture", "strong")
    yield _text(_RIGHT + 10, middle + 8, f"{summary.gpu_hours:,.2f} GPU hours", "quiet")


def _side_by_side(lives: Iterable[Life]) -> list[list[Life]]:
    """Instances that lived at the same time go to different rows."""
    rows: list[list[Life]] = []
    for life in lives:
        free = [row for row in rows if row[-1].stopped_s <= life.started_s]
        if free:
            free[0].append(life)
        else:
            rows.append([life])
    return rows


def _bars(
    kind: str, spans: Sequence[_Span], top: float, height: float, axis: _Axis
) -> Iterator[str]:
    is_exact = kind != "idle" and axis.pixel_s > _DETAIL_S
    least, gap = (0.0, 0.1) if is_exact else (1.0, 0.5)  # pixels
    for begin_s, end_s in _merged(spans, axis.pixel_s * gap):
        x, width = axis.x(begin_s), max(least, (end_s - begin_s) / axis.pixel_s)
        yield (
            f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{width:.2f}"'
            f' height="{max(1.0, height - 1):.1f}"/>'
        )


def _merged(spans: Sequence[_Span], gap_s: float) -> list[_Span]:
    """Spans closer than `gap_s` as one: a year has more of them than a plot has pixels."""
    merged: list[_Span] = []
    for begin_s, end_s in sorted(spans):
        if merged and begin_s - merged[-1][1] < gap_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((begin_s, end_s))
    return merged


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
