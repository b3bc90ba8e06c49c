"""The price table: what each kind of instance costs while it is billed."""

from __future__ import annotations

from dataclasses import dataclass

from imagegen.settings import Settings

_HOUR_S = 3_600


@dataclass(frozen=True)
class PriceTable:
    """US dollars an hour, from the settings: an operator's region and size have their own."""

    render_usd_per_hour: float  # an instance with its GPU, billed for its whole life
    web_usd_per_hour: float  # an instance of the role `web`, billed while it answers

    @classmethod
    def of(cls, settings: Settings) -> PriceTable:
        return cls(settings.usd_per_hour, settings.web_usd_per_hour)

    def render_usd(self, billed_s: float) -> float:
        return billed_s / _HOUR_S * self.render_usd_per_hour

    def web_usd(self, billed_s: float) -> float:
        return billed_s / _HOUR_S * self.web_usd_per_hour
