"""What AUTOMATIC1111's clients send; its version 1.10 names the fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from imagegen.edits import SentPicture


class Txt2ImgBody(BaseModel):
    """A picture from words. null is as good as not said.

    Clients send dozens of fields with their defaults; those below are read, those of
    `unsupported.py` must say what changes nothing, and any other is ignored, as it is there.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: str | None = Field(
        default="", description="What the picture shows; the brand's template adds its own words."
    )
    negative_prompt: str | None = Field(
        default="", description="What it must not show, beside what the brand never shows."
    )
    styles: list[str] | None = Field(
        default=None, description="The brand, one of `GET /sdapi/v1/prompt-styles`."
    )
    override_settings: dict[str, Any] | None = Field(
        default=None,
        description="`sd_model_checkpoint`: the brand, instead of a style. `samples_format`: png, "
        "jpg or webp. `jpeg_quality`: 1 to 100, for the last two.",
    )
    brand: str | None = Field(default=None, description="The brand, instead of a style. Ours.")
    seed: int | None = Field(
        default=-1, description="-1 is a random one; picture i gets seed + i modulo 2^32."
    )
    sampler_name: str | None = Field(
        default=None, description="One of `GET /sdapi/v1/samplers` or its aliases; the brand's."
    )
    sampler_index: str | None = Field(
        default=None, description="The same; counts where sampler_name is not said."
    )
    scheduler: str | None = Field(
        default=None, description="`Automatic`, or `Karras` with the sampler DPM++ 2M."
    )
    batch_size: int | None = Field(default=1, description="Pictures, times n_iter: 8 at most.")
    n_iter: int | None = Field(default=1, description="Pictures, times batch_size: 8 at most.")
    steps: int | None = Field(default=None, description="Denoising steps, 1 to 100; the brand's.")
    cfg_scale: float | None = Field(
        default=None, description="How strictly it follows the prompt, 0 to 30; the brand's."
    )
    width: int | None = Field(
        default=None, description="Pixels, a multiple of 8, together with height; the brand's."
    )
    height: int | None = Field(
        default=None, description="Pixels, a multiple of 8, together with width; the brand's."
    )
    send_images: bool | None = Field(
        default=True, description="false: the answer tells of the pictures and holds none."
    )
    campaign: str | None = Field(
        default=None, description="Carried to the record, the metrics and the cost report. Ours."
    )


class Img2ImgBody(Txt2ImgBody):
    """A picture from words and a picture."""

    init_images: list[SentPicture] | None = Field(
        default=None, description="One picture in Base64 or as a data URL, never an address."
    )
    denoising_strength: float | None = Field(
        default=0.75, description="How far the picture is left behind, above 0, up to 1."
    )
    resize_mode: int | None = Field(
        default=0,
        description="Where width and height have other proportions than the picture: 0 stretches "
        "it, 1 cuts off what juts out, 2 fills up what is missing with its edges.",
    )
    mask: Annotated[SentPicture | None, BeforeValidator(lambda said: said or None)] = Field(
        default=None,
        description="What is white is repainted, or what is not transparent where something is.",
    )
    inpainting_mask_invert: int | None = Field(default=0, description="1: what is black instead.")
    inpainting_fill: int | None = Field(
        default=0,
        description="What is repainted starts from: 0 the colours around it, 1 what is there.",
    )


class PngInfoBody(BaseModel):
    """A file that somebody has."""

    model_config = ConfigDict(frozen=True)

    image: SentPicture = Field(description="PNG, JPEG or WebP in Base64 or as a data URL.")


class ProgressQuery(BaseModel):
    """How much is wanted of what is being made."""

    model_config = ConfigDict(frozen=True)

    skip_current_image: bool = Field(default=False, description="true: no look at the picture.")


class OptionsBody(BaseModel):
    """Settings, name to value."""

    model_config = ConfigDict(extra="allow", frozen=True)
