"""What Prometheus reads after generations have ended."""

import re
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from sample_brands import write_brands

from imagegen.bootstrap import build
from imagegen.generation import GeneratedImage, Generation, Timings, Usage
from imagegen.metrics import MAX_CAMPAIGNS, Metrics
from imagegen.settings import Settings

IMAGE = GeneratedImage(
    url="/images/a.png",
    storage_uri="file:///a.png",
    seed=0,
    width=8,
    height=8,
    content_type="image/png",
    size_bytes=1,
    sha256="0" * 64,
)


def generation(campaign: str | None = None) -> Generation:
    return Generation(
        id="gen_x",
        status="succeeded",
        brand="aurora",
        preset_version="sha256:0",
        model="fake",
        created_at=datetime.now(UTC),
        campaign=campaign,
        images=(IMAGE, IMAGE),
        timings=Timings(queue_s=0.1, render_s=1.5, total_s=1.7),
        usage=Usage(gpu_s=1.5, steps=20, estimated_cost_usd=0.5),
    )


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_generation_counts_its_pictures_seconds_and_cost() -> None:
    metrics = Metrics()
    metrics.succeeded(generation("spring"))
    metrics.ended_without_pictures("aurora", "render_failed")
    seen = samples(metrics)
    assert seen["imagegen_generations_total", "aurora", "succeeded"] == 1
    assert seen["imagegen_generations_total", "aurora", "render_failed"] == 1
    assert seen["imagegen_pictures_total", "aurora", "spring"] == 2
    assert seen["imagegen_gpu_seconds_total", "aurora", "spring"] == 1.5
    assert seen["imagegen_estimated_cost_usd_total", "aurora", "spring"] == 0.5
    assert seen["imagegen_generation_seconds_sum", "render"] == 1.5
    assert seen["imagegen_generation_seconds_count", "total"] == 1


def test_campaigns_cannot_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(MAX_CAMPAIGNS + 50):
        metrics.succeeded(generation(f"campaign {number}"))
    metrics.succeeded(generation("campaign 0"))
    seen = samples(metrics)
    assert seen["imagegen_pictures_total", "aurora", "(other)"] == 100
    assert seen["imagegen_pictures_total", "aurora", "campaign 0"] == 4
    assert sum(name[0] == "imagegen_pictures_total" for name in seen) == MAX_CAMPAIGNS + 1


def test_a_gauge_is_read_when_asked() -> None:
    metrics = Metrics()
    waiting = [3.0]
    metrics.watch("queued_pictures", "Pictures waiting.", lambda: waiting[0])
    assert samples(metrics)["imagegen_queued_pictures",] == 3
    waiting[0] = 5
    assert samples(metrics)["imagegen_queued_pictures",] == 5


def test_two_registries_never_meet() -> None:
    one, other = Metrics(), Metrics()
    one.ended_without_pictures("aurora", "queue_full")
    assert ("imagegen_generations_total", "aurora", "queue_full") not in samples(other)


# promtool check metrics, as rules: https://prometheus.io/docs/practices/naming/
BASE_UNITS = {"seconds", "bytes", "ratio", "usd"}
NO_BASE_UNITS = {
    "milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days",
    "kilobytes", "megabytes", "gigabytes", "kibibytes", "mebibytes", "bits", "percent",
    "s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "min", "h", "hr", "d",
}  # fmt: skip
KINDS = {"counter", "gauge", "histogram", "summary", "info", "metric"}


def test_names_are_what_promtool_accepts(tmp_path: Path) -> None:
    write_brands(tmp_path / "brands")
    parts = build(
        Settings(model="fake", presets=f"{tmp_path}/brands", storage=f"file:{tmp_path}/output")
    )
    parts.metrics.succeeded(generation("spring"))
    parts.metrics.ended_without_pictures("aurora", "render_failed")
    families = list(text_string_to_metric_families(parts.metrics.exposition().decode()))
    assert {"imagegen_queued_pictures", "imagegen_render_process_deaths"} <= {
        family.name for family in families
    }
    for family in families:
        words = family.name.split("_")
        assert re.fullmatch("imagegen(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert not NO_BASE_UNITS & set(words)
        assert not KINDS & set(words)
        assert not BASE_UNITS & set(words[:-1]), "the unit comes last"
        names = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert names == {f"{family.name}_total"}
        elif family.type == "gauge":
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        else:
            assert family.type == "histogram"
            assert words[-1] in BASE_UNITS


def test_a_count_that_somebody_else_keeps_is_a_counter() -> None:
    metrics = Metrics()
    deaths = [1]
    metrics.watch_total("deaths", "Processes that ended.", lambda: deaths[0])
    assert "# TYPE imagegen_deaths_total counter" in metrics.exposition().decode()
    deaths[0] = 2
    assert samples(metrics)["imagegen_deaths_total",] == 2
