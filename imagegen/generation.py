"""The words of the domain.

A request's way: GenerationRequest -> [RenderSpec] -> [Rendering] -> Generation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from imagegen.branding.overlay import Overlay, read_overlay
from imagegen.branding.score import BrandScore
from imagegen.edits import DEFAULT_STRENGTH, Edit, SentPicture, steps_done
from imagegen.texts import Text, not_empty

MAX_SEED = 2**32 - 1
BRAND_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"


class Scheduler(StrEnum):
    """The schedulers a request may name; `diffusion/schedulers.py` has a class for each."""

    DDIM = "ddim"
    DDPM = "ddpm"
    EULER = "euler"
    EULER_A = "euler_a"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    UNIPC = "unipc"
    LCM = "lcm"


class OutputFormat(StrEnum):
    """The picture files a request may ask for."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def content_type(self) -> str:
        return f"image/{self.value}"

    @property
    def extension(self) -> str:
        return "jpg" if self is OutputFormat.JPEG else self.value


Side = Annotated[int, Field(ge=8, le=8_192, multiple_of=8)]


def _or_true_or_false(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "boolean"})


class GenerationRequest(BaseModel):
    """What a caller asked for. `None` means "not said": the brand decides."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    brand: str = Field(
        pattern=BRAND_PATTERN, description="A brand of the catalogue, see `GET /brands`."
    )
    prompt: Annotated[Text, AfterValidator(not_empty)] = Field(
        description="What the picture shows; 1 to 2,000 characters. "
        "The brand's template adds its own words."
    )
    negative_prompt: Text | None = Field(
        default=None, description="What the picture must not show; replaces the brand's."
    )
    num_images: int = Field(
        default=1, ge=1, le=8, description="Pictures to make, each with its own seed."
    )
    format: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="A named format of the brand, or `square`, `portrait`, `story`, `landscape`, "
        "`banner`. Excludes `width` and `height`.",
    )
    width: Side | None = Field(
        default=None, description="Pixels, a multiple of 8 within the model's limits."
    )
    height: Side | None = Field(
        default=None, description="Pixels, a multiple of 8 within the model's limits."
    )
    num_inference_steps: int | None = Field(
        default=None, ge=1, le=100, description="Denoising steps."
    )
    guidance_scale: float | None = Field(
        default=None, ge=0, le=30, allow_inf_nan=False,
        description="How strictly the picture follows the prompt; 1 and below switch guidance off.",
    )  # fmt: skip
    scheduler: Annotated[Scheduler, Field(strict=False)] | None = Field(
        default=None,
        description="The denoising scheduler; those the model allows are in `GET /capabilities`.",
    )
    seed: int | None = Field(
        default=None, ge=0, le=MAX_SEED,
        description="Picture i gets seed + i modulo 2^32. "
        "The same seed and request give the same picture.",
    )  # fmt: skip
    init_image: SentPicture | None = Field(
        default=None,
        description="A PNG, JPEG or WebP picture to start from; the new one gets its size unless "
        "another is said. In JSON it is base64 or a data URL, never an address.",
    )
    mask: SentPicture | None = Field(
        default=None,
        description="A picture of the size of `init_image`: where it is white that one is "
        "repainted, where it is black it stays.",
    )
    strength: float | None = Field(
        default=None, gt=0, le=1, allow_inf_nan=False,
        description="How far `init_image` is left behind: that share of the steps is done; "
        f"{DEFAULT_STRENGTH} where nothing is said, 1 keeps next to nothing of it.",
    )  # fmt: skip
    adapter_scale: float | None = Field(
        default=None, ge=0, le=2, allow_inf_nan=False,
        description="Multiplies the weights of the brand's own LoRAs; 0 shows the bare model.",
    )  # fmt: skip
    overlay: Overlay | None = Field(
        default=None,
        description="What is laid on the finished pictures: true is the brand's logo, an object "
        "may add `headline` and `legal`; the clean pictures are kept too.",
        json_schema_extra=_or_true_or_false,
    )
    score: bool = Field(default=True, description="Say of each picture how much it is the brand's.")
    output_format: Annotated[OutputFormat, Field(strict=False)] = Field(
        default=OutputFormat.PNG, description="The file's format."
    )
    output_quality: int = Field(default=90, ge=1, le=100, description="For jpeg and webp.")
    exact: bool = Field(
        default=False, description="Render alone: bit-identical every time on one machine."
    )
    campaign: Annotated[Text, StringConstraints(max_length=64)] | None = Field(
        default=None, description="Carried to the record, the metrics and the cost report."
    )
    deadline_s: float | None = Field(
        default=None, gt=0, le=3_600, allow_inf_nan=False,
        description="Refuse or stop what cannot be ready in so many seconds.",
    )  # fmt: skip

    @field_validator("overlay", mode="before")
    @classmethod
    def _overlay(cls, said: object, info: ValidationInfo) -> object:
        return read_overlay(said, as_text=info.mode != "json")

    @field_validator("mask", "strength")
    @classmethod
    def _goes_with_a_picture(cls, said: object, info: ValidationInfo) -> object:
        if "init_image" in info.data and info.data["init_image"] is None and said is not None:
            raise ValueError("goes with init_image")
        return said

    @field_validator("mask")
    @classmethod
    def _as_large_as_the_picture(
        cls, mask: SentPicture | None, info: ValidationInfo
    ) -> SentPicture | None:
        picture = info.data.get("init_image")
        if mask is None or picture is None:
            return mask
        if (mask.width, mask.height) != (picture.width, picture.height):
            raise ValueError(
                f"is {mask.width} x {mask.height} pixels, and init_image {picture.width} x"
                f" {picture.height}: both must have one size"
            )
        return mask

    @model_validator(mode="after")
    def _one_way_to_say_the_size(self) -> GenerationRequest:
        if self.format is not None and (self.width is not None or self.height is not None):
            raise ValueError("say either format or width and height, not both")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
        return self


@dataclass(frozen=True)
class AdapterUse:
    """One LoRA file and its strength: the preset's weight times the request's adapter_scale."""

    path: Path
    sha256: str
    weight: float


@dataclass(frozen=True)
class RenderSpec:
    """Exactly one picture, nothing left to choose. Rendering it twice gives the same picture."""

    brand: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: Scheduler
    seed: int
    adapters: tuple[AdapterUse, ...]
    exact: bool
    edit: Edit | None = None  # None: it is made from words alone

    @property
    def step_count(self) -> int:
        """Denoising steps that are done: of an edit only the last ones."""
        if self.edit is None:
            return self.num_inference_steps
        return steps_done(self.num_inference_steps, self.edit.strength)

    def without_pixels(self) -> RenderSpec:
        """Equal to this one, without the pictures that came with it: to be remembered."""
        return self if self.edit is None else replace(self, edit=self.edit.without_pixels())

    @property
    def rows(self) -> int:
        """Denoiser rows it takes: guidance needs one for the negative prompt too."""
        return RowLimits.GUIDED_ROWS if self.guidance_scale > 1 else 1

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class RowLimits:
    """How many denoiser rows one call may have; guidance makes a picture take two."""

    GUIDED_ROWS: ClassVar[int] = 2
    MOST: ClassVar[int] = 64  # of any model on any device: more gain nothing

    probes: tuple[tuple[int, int], ...] = ()  # (pixels of one picture, rows that fit), ascending

    def at(self, width: int, height: int) -> int:
        """Rows for pictures of that size, in pixels; always room for one guided picture."""
        pixels = width * height
        fitting = next((rows for probed, rows in self.probes if probed >= pixels), 0)
        return max(fitting, self.GUIDED_ROWS)

    def capped(self, rows: int) -> RowLimits:
        """The same, with at most `rows` at any size."""
        return RowLimits(tuple((pixels, min(fit, rows)) for pixels, fit in self.probes))


@dataclass(frozen=True)
class ModelInfo:
    """What the loaded model is and allows; known to the parent once the render process is ready."""

    name: str  # as the operator wrote it in IMAGEGEN_MODEL, or "starter"
    sha256: str  # of the weights' names, sizes and contents
    family: str  # "sd"
    native_px: int  # the side of the square picture it was trained for
    min_px: int
    max_px: int
    schedulers: tuple[Scheduler, ...]
    device: str  # "cpu", "NVIDIA L4", …
    dtype: str  # "float32", "float16"
    row_limits: RowLimits = RowLimits()  # not said: one guided picture at any size


@dataclass(frozen=True)
class Rendering:
    """A finished picture as it leaves the render process: 8-bit RGB rows, top row first."""

    spec: RenderSpec
    model: ModelInfo
    pixels: bytes = field(repr=False)  # height x width x 3
    warnings: tuple[str, ...]  # such as words past the text encoder's 77 tokens
    queue_s: float
    render_s: float
    gpu_s: float  # its share of the steps it was in, and of encoding and decoding


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class StoredFile(_Answer):
    """A file in Storage, and how to get it."""

    url: str
    storage_uri: str
    size_bytes: int
    sha256: str


class GeneratedImage(_Answer):
    """A stored picture."""

    url: str
    storage_uri: str
    seed: int
    width: int
    height: int
    content_type: str
    size_bytes: int
    sha256: str
    clean: StoredFile | None = None  # without the overlay, where there is one
    score: BrandScore | None = None  # where it was asked for and something can be said

    @property
    def output_format(self) -> OutputFormat:
        """What kind of file it is."""
        return OutputFormat(self.content_type.removeprefix("image/"))


class Timings(_Answer):
    """Seconds from arrival to answer; parallel pictures count once."""

    queue_s: float = 0.0
    render_s: float = 0.0
    encode_s: float = 0.0
    store_s: float = 0.0
    total_s: float = 0.0


class Usage(_Answer):
    """What the pictures cost: GPU seconds are shares of the steps they were in."""

    gpu_s: float = 0.0
    steps: int = 0
    estimated_cost_usd: float = 0.0


class Generation(_Answer):
    """One request's life and, at its end, its pictures. The body of every answer about it."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    brand: str
    preset_version: str
    model: str
    created_at: AwareDatetime
    campaign: str | None = None
    warnings: tuple[str, ...] = ()
    images: tuple[GeneratedImage, ...] = ()
    timings: Timings = Timings()
    usage: Usage = Usage()
