"""What Prometheus reads after generations have ended."""

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from imagegen.generation import GeneratedImage, Generation, Timings, Usage
from imagegen.metrics import MAX_CAMPAIGNS, Metrics

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
    metrics.watch("queue_depth", "Pictures waiting.", lambda: waiting[0])
    assert samples(metrics)["imagegen_queue_depth",] == 3
    waiting[0] = 5
    assert samples(metrics)["imagegen_queue_depth",] == 5


def test_two_registries_never_meet() -> None:
    one, other = Metrics(), Metrics()
    one.ended_without_pictures("aurora", "queue_full")
    assert ("imagegen_generations_total", "aurora", "queue_full") not in samples(other)
