"""What the model takes for granted: every figure with its unit and where it comes from."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

_MOST = 1_000_000  # of any figure: beyond that the seconds of a replay are no longer told apart
_HOURS = re.compile(r"(\d{1,2})-(\d{1,2})")


def _assumed(default: float | str, about: str, source: str, **bounds: Any) -> Any:
    if not isinstance(default, str):
        bounds = {"le": _MOST} | bounds
    return Field(default, description=about, json_schema_extra={"source": source}, **bounds)


class Assumptions(BaseModel):
    """Each field is an option of `imagegen cost`; docs/cost.md has them as a table."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    idle_tail_s: float = _assumed(
        900, "Seconds that an instance is kept and billed after its last request.",
        "Cloud Run: 10 to 15 minutes; the longest", ge=0,
    )  # fmt: skip
    concurrency: int = _assumed(
        16, "Requests at a time in one instance with a GPU.", "`deploy/service.yaml`", ge=1, le=1000
    )
    scale_at: float = _assumed(
        0.6, "Part of the concurrency beyond which another instance starts.", "Cloud Run",
        gt=0, le=1,
    )  # fmt: skip
    max_instances: int = _assumed(
        3, "Instances of a service at most.", "`deploy/service.yaml`", ge=1, le=1000
    )
    pend_s: float = _assumed(
        10, "Seconds that a request waits for an instance at least; then 429.", "Cloud Run", ge=0
    )
    pend_starts: float = _assumed(
        3.5, "Or so many times as long as a start takes, where that is more.", "Cloud Run", ge=0
    )
    start_s: float = _assumed(
        18.5, "Seconds until an instance of this service can render.",
        "as naive: not measured on an L4 yet", ge=0,
    )  # fmt: skip
    naive_start_s: float = _assumed(
        18.5, "Seconds until an instance of the naive service can render.",
        "5 s until the driver is there (Cloud Run), 5.9 s imports and 2.3 s for a model of "
        "2.1 GB (measured on two CPU cores), the latter scaled to SDXL's 7 GB", ge=0,
    )  # fmt: skip
    web_start_s: float = _assumed(
        2,
        "Seconds until an instance of the role `web` can answer.",
        "assumed: 1 s until the port answers, 1 s around it",
        ge=0,
    )
    picture_s: float = _assumed(
        7.95, "GPU seconds of a picture alone.",
        "published: SDXL, 1024², 20 steps, eager, on an L4 (MLPerf 4.1 open)", gt=0,
    )  # fmt: skip
    naive_picture_s: float = _assumed(
        8.21, "GPU seconds of a picture of the naive service.",
        "`picture_s` and 0.26 s for a LoRA loaded, set and unloaded ([switch](performance.md))",
        gt=0,
    )  # fmt: skip
    marginal_picture: float = _assumed(
        0.77, "What one more picture in a batch adds, as a part of one alone.",
        "published: a batch of 8 on an A10G makes 25 % more a second", ge=0, le=1,
    )  # fmt: skip
    max_batch: int = _assumed(
        8, "Pictures in flight together.", "assumed: SDXL in 24 GB", ge=1, le=1000
    )
    page_s: float = _assumed(
        0.05, "Seconds that a page or a stored picture takes.", "assumed; no GPU in it", ge=0
    )
    script_requests: int = _assumed(
        4, "Requests that a prompt script has open at a time.",
        "`--concurrency` of [prompt scripts](batch.md)",
        ge=1, le=64,
    )  # fmt: skip
    script_patience_s: float = _assumed(
        900, "Seconds that a prompt script asks again after 429.", "[batch.md](batch.md)", ge=0
    )
    web_concurrency: int = _assumed(
        80, "Requests at a time in one instance of the role `web`.", "Cloud Run's default",
        ge=1, le=1000,
    )  # fmt: skip
    job_least_s: float = _assumed(
        60, "Seconds that a job's task is billed at least.", "Cloud Run's price page", ge=0
    )
    job_longest_s: float = _assumed(
        3600, "Seconds that a job's task may take; a longer script is sharded.", "Cloud Run", gt=0
    )
    warm_hours: str = _assumed(
        "9-18",
        "Hours of each day in which one instance is kept.",
        "office hours; `0-24` is minScale 1",
    )

    @field_validator("warm_hours")
    @classmethod
    def _are_hours(cls, said: str) -> str:
        hours = _HOURS.fullmatch(said)
        if hours is None or not int(hours[1]) < int(hours[2]) <= 24:
            raise ValueError("write two hours of a day, such as 9-18")
        return said

    @property
    def warm_span_h(self) -> tuple[float, float]:
        begin, _, end = self.warm_hours.partition("-")
        return float(begin), float(end)
