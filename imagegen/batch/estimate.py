"""What a campaign will take and cost, worked out from what earlier pictures took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from imagegen.generation import Generation


@dataclass
class _Sums:
    """Over some generations that have been rendered."""

    pictures: int = 0
    gpu_s: float = 0.0
    steps: int = 0
    pixels: int = 0

    def add(self, generation: Generation) -> None:
        self.pictures += len(generation.images)
        self.gpu_s += generation.usage.gpu_s
        self.steps += generation.usage.steps
        self.pixels += sum(image.width * image.height for image in generation.images)


@dataclass(frozen=True)
class Estimate:
    """GPU-seconds and dollars, and how many measured pictures they rest on."""

    gpu_s: float
    cost_usd: float
    pictures: int


class Measured:
    """The seconds of pictures that have been made; brand by brand, as their defaults differ."""

    def __init__(self, generations: Iterable[Generation]) -> None:
        self._all, self._brands, self._cost_usd = _Sums(), dict[str, _Sums](), 0.0
        for one in generations:
            if one.status == "succeeded" and one.images:
                self._all.add(one)
                self._brands.setdefault(one.brand, _Sums()).add(one)
                self._cost_usd += one.usage.estimated_cost_usd

    @property
    def is_empty(self) -> bool:
        return self._all.gpu_s <= 0

    def estimate(self, requests: Iterable[Mapping[str, Any]]) -> Estimate:
        """For measured pictures only: not where `is_empty`."""
        gpu_s = sum(map(self._gpu_s, requests))
        usd_per_gpu_s = self._cost_usd / self._all.gpu_s
        return Estimate(gpu_s, gpu_s * usd_per_gpu_s, self._all.pictures)

    def _gpu_s(self, request: Mapping[str, Any]) -> float:
        """As its brand's pictures took, in proportion to the steps and the size it says itself.

        The named formats have about as many pixels as each other.
        """
        sums = self._brands.get(request["brand"], self._all)
        gpu_s = sums.gpu_s / sums.pictures
        if (steps := request.get("num_inference_steps")) is not None and sums.steps:
            gpu_s *= steps / (sums.steps / sums.pictures)
        if "width" in request and "height" in request:
            gpu_s *= request["width"] * request["height"] / (sums.pixels / sums.pictures)
        return float(gpu_s * request["num_images"])


def in_words(estimate: Estimate, source: str) -> str:
    """`about 1,240 GPU-seconds (0.3 h) and $0.48, as 812 pictures … took`."""
    hours = f" ({estimate.gpu_s / 3_600:,.1f} h)" if estimate.gpu_s >= 360 else ""
    return (
        f"about {_figure(estimate.gpu_s)} GPU-seconds{hours} and ${_figure(estimate.cost_usd)}, "
        f"judged by {estimate.pictures:,} pictures {source}"
    )


def _figure(number: float) -> str:
    """Two digits that mean something, and no more of them than that behind the point."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.2f}" if number >= 0.1 else f"{number:.2g}"
