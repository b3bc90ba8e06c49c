"""Metrics: what Prometheus reads, on a registry of their own that nobody shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from imagegen.generation import Generation

MAX_CAMPAIGNS = (
    100  # a label's values are kept for ever: callers must not be able to fill the memory
)
OTHER_CAMPAIGN = "(other)"
NO_BRAND = "(unknown)"
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class Metrics:
    """Counts generations as they end; the engine's figures are read when somebody asks."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside each count, which says when it began
        self._registry = CollectorRegistry()
        self._campaigns: set[str] = set()
        self._lock = threading.Lock()
        self._generations = self._counter(
            "generations", "Generations ended, by outcome.", "brand", "status"
        )
        self._pictures = self._counter("pictures", "Pictures stored.", "brand", "campaign")
        self._gpu_s = self._counter(
            "gpu_seconds", "Accelerator seconds of stored pictures.", "brand", "campaign"
        )
        self._cost_usd = self._counter(
            "estimated_cost_usd", "Estimated cost of stored pictures.", "brand", "campaign"
        )
        self._seconds = Histogram(
            "imagegen_generation_seconds",
            "Where a succeeded generation spent its time.",
            ("part",),
            buckets=_SECONDS,
            registry=self._registry,
        )

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Adds the gauge `imagegen_{name}`; `read` is called at each scrape."""
        gauge = Gauge(f"imagegen_{name}", meaning, registry=self._registry)
        gauge.set_function(read)

    def watch_each(
        self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        """Adds the gauge `imagegen_{name}`, one for each value of `label` that `read` says."""
        self._registry.register(_Each(f"imagegen_{name}", meaning, label, read))

    def watch_total(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Adds the counter `imagegen_{name}_total`; what `read` says never falls."""
        self._registry.register(_Total(f"imagegen_{name}", meaning, read))

    def succeeded(self, generation: Generation) -> None:
        labels = (generation.brand, self._campaign_label(generation.campaign))
        self._generations.labels(generation.brand, "succeeded").inc()
        self._pictures.labels(*labels).inc(len(generation.images))
        self._gpu_s.labels(*labels).inc(generation.usage.gpu_s)
        self._cost_usd.labels(*labels).inc(generation.usage.estimated_cost_usd)
        for part, seconds in generation.timings.model_dump().items():
            self._seconds.labels(part.removesuffix("_s")).observe(seconds)

    def ended_without_pictures(self, brand: str, code: str) -> None:
        """`brand` is one of the catalogue or NO_BRAND; `code` is the error's."""
        self._generations.labels(brand, code).inc()

    def exposition(self) -> bytes:
        """The text that Prometheus reads; its media type is `content_type`."""
        return generate_latest(self._registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"imagegen_{name}", meaning, labels, registry=self._registry)

    def _campaign_label(self, campaign: str | None) -> str:
        if campaign is None:
            return ""
        with self._lock:
            if campaign not in self._campaigns and len(self._campaigns) >= MAX_CAMPAIGNS:
                return OTHER_CAMPAIGN
            self._campaigns.add(campaign)
            return campaign


class _Each(Collector):
    """Figures that somebody else keeps, as many as there are just now."""

    def __init__(
        self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, float]]
    ) -> None:
        self._name, self._meaning, self._label, self._read = name, meaning, label, read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._meaning, labels=[self._label])
        for value, figure in self._read().items():
            family.add_metric([value], figure)
        yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Asked at registration, when there may be nothing to read yet."""
        yield GaugeMetricFamily(self._name, self._meaning, labels=[self._label])


class _Total(Collector):
    """A count that somebody else keeps."""

    def __init__(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._name, self._meaning, self._read = name, meaning, read

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._meaning, value=self._read())

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Asked at registration, when there may be nothing to read yet."""
        yield CounterMetricFamily(self._name, self._meaning)
