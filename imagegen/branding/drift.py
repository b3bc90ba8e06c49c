"""Drift: whether a brand's pictures have become less its own than they were."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

RECENT, EARLIEST = 20, 40  # pictures that are compared, with at least so many before them
_SIGMAS = 3.0  # chance alone falls so low once in 740 times
_POINTS = 2.0  # a smaller drop is nobody's concern, however sure it is
_LEAST_SPREAD = 1.0  # points: pictures that were all alike would make any change a drift


class Drift(BaseModel):
    """The mean total score of the newest pictures beside that of those before them."""

    model_config = ConfigDict(frozen=True)

    pictures: int = Field(description="With a score, among those that were looked at.")
    recent: float | None = Field(description="Mean of the newest 20; null: there are too few.")
    earlier: float | None = Field(description="Mean of those before, 40 at least.")
    sigmas: float | None = Field(description="The difference in standard errors; below 0: worse.")
    drifts: bool = Field(description="Three standard errors lower, and two points.")


def drift_of(scores: Sequence[float]) -> Drift:
    """scores: total scores of a brand's pictures, the oldest first.

    The difference of the two means over its standard error, both samples with the earlier one's
    spread: a z-test. Pictures of one request resemble each other, so it is sure a little too soon.
    """
    if len(scores) < RECENT + EARLIEST:
        return Drift(pictures=len(scores), recent=None, earlier=None, sigmas=None, drifts=False)
    earlier, recent = scores[:-RECENT], scores[-RECENT:]
    spread = max(statistics.stdev(earlier), _LEAST_SPREAD)
    rise = statistics.fmean(recent) - statistics.fmean(earlier)
    sigmas = rise / (spread * (1 / len(recent) + 1 / len(earlier)) ** 0.5)
    return Drift(
        pictures=len(scores),
        recent=round(statistics.fmean(recent), 1),
        earlier=round(statistics.fmean(earlier), 1),
        sigmas=round(sigmas, 2),
        drifts=sigmas <= -_SIGMAS and rise <= -_POINTS,
    )
