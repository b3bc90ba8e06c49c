"""BrandScore: how much a picture is the brand's, in figures that are told with the picture."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

_WEIGHTS = {"palette": 0.6, "contrast": 0.2, "similarity": 0.2}


class BrandScore(BaseModel):
    """0 to 100 each, more is better; a part that nothing is known about is null."""

    model_config = ConfigDict(frozen=True)

    total: float = Field(
        ge=0, le=100,
        description="The parts that are there, by weight: palette 60 %, contrast 20 %, "
        "similarity 20 %.",
    )  # fmt: skip
    palette: float | None = Field(
        default=None, ge=0, le=100, description="How near its colours are to the palette's."
    )
    contrast: float | None = Field(
        default=None, ge=0, le=100,
        description="How well it leaves room for the logo and the words, before it is helped.",
    )  # fmt: skip
    similarity: float | None = Field(
        default=None, ge=0, le=100,
        description="How much colours and their places are those of the approved pictures.",
    )  # fmt: skip

    @classmethod
    def of(
        cls, *, palette: float | None, contrast: float | None, similarity: float | None
    ) -> BrandScore | None:
        """The parts, 0 to 100 each, and their weighted mean; None where there is no part."""
        said = {"palette": palette, "contrast": contrast, "similarity": similarity}
        parts = {name: round(value, 1) for name, value in said.items() if value is not None}
        if not parts:
            return None
        weight = sum(_WEIGHTS[name] for name in parts)
        total = sum(_WEIGHTS[name] * value for name, value in parts.items()) / weight
        return cls(total=round(total, 1), **parts)
