"""What OpenAI's clients send, as openai 3.57 types it; the model is the brand."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from imagegen.edits import DEFAULT_STRENGTH, SentPicture
from imagegen.generation import GenerationRequest, OutputFormat, Scheduler

FAITHFUL_STRENGTH = 0.4  # of input_fidelity "high"
_TEXT = {"type": "string", "contentEncoding": "base64"}
Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]


def _ours(name: str) -> Any:
    """A field of GenerationRequest: its bounds and its description, under the same name."""
    return GenerationRequest.model_fields[name]


def _unwrapped(said: object) -> object:
    return said["image_url"] if isinstance(said, dict) and set(said) == {"image_url"} else said


# A picture as a text, or as an object that has it as image_url.
Reference = Annotated[
    SentPicture,
    BeforeValidator(_unwrapped),
    WithJsonSchema(
        {
            "anyOf": [
                _TEXT,
                {
                    "type": "object",
                    "required": ["image_url"],
                    "properties": {"image_url": _TEXT},
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class ImagesBody(BaseModel):
    """What generations and edits have in common. null is as good as not said."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str = Field(description="A brand's id: one of `GET /v1/models`.", examples=["aurora"])
    prompt: str = _ours("prompt")
    n: int | None = Field(
        default=None, ge=1, le=8, description="Pictures to make, each with its own seed; 1."
    )
    size: str | None = Field(
        default=None,
        pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5}|[a-z0-9][a-z0-9_-]{0,62})$",
        description="`auto`, the brand's own; WIDTHxHEIGHT in pixels, multiples of 8 within the "
        "model's limits; or one of the brand's formats by its name.",
    )
    quality: Quality | None = Field(
        default=None,
        description="Denoising steps, as a multiple of the brand's own number: `low` half, "
        "`medium`, `standard` and `auto` the same, `high` and `hd` twice, `xhigh` three times, "
        "`max` four times.",
    )
    response_format: Literal["b64_json", "url"] | None = Field(
        default=None, description="The picture itself (`b64_json`) or a link to it."
    )
    output_format: Literal["png", "jpeg", "webp"] | None = Field(
        default=None, description="The file's format; png."
    )
    output_compression: int | None = Field(
        default=None, ge=0, le=100, description="The quality of jpeg and webp, 0 to 100; 90."
    )
    stream: bool | None = Field(
        default=None, description="Answer with server-sent events; goes with b64_json."
    )
    partial_images: int | None = Field(
        default=None, ge=0, le=3,
        description="Looks at the picture on its way, at most; goes with `stream` and `n` 1.",
    )  # fmt: skip
    background: Literal["auto", "opaque"] | None = Field(
        default=None, description="Pictures are opaque; `transparent` is refused."
    )
    moderation: Literal["auto", "low"] | None = Field(
        default=None, description="Not used: the brand's banned terms hold in any case."
    )
    user: str | None = Field(
        default=None, description="Not used; who asks is known by his key alone."
    )
    safety_identifier: str | None = Field(default=None, description="Not used, as `user`.")
    negative_prompt: str | None = _ours("negative_prompt")
    num_inference_steps: int | None = Field(
        default=None, ge=1, le=100, description="Denoising steps; overrules `quality`."
    )
    guidance_scale: float | None = _ours("guidance_scale")
    scheduler: Scheduler | None = Field(
        default=None, strict=False, description=_ours("scheduler").description
    )
    seed: int | None = _ours("seed")
    campaign: str | None = _ours("campaign")

    @field_validator("partial_images")
    @classmethod
    def _looks_are_streamed(cls, said: int | None, info: ValidationInfo) -> int | None:
        if said and not info.data.get("stream"):
            raise ValueError("goes with stream true")
        if said and (info.data.get("n") or 1) > 1:
            raise ValueError("goes with n 1: nothing tells whose look it is")
        return said

    @field_validator("stream")
    @classmethod
    def _links_are_not_streamed(cls, said: bool | None, info: ValidationInfo) -> bool | None:
        if said and info.data.get("response_format") == "url":
            raise ValueError("goes with response_format b64_json")
        return said

    @field_validator("output_compression")
    @classmethod
    def _png_keeps_everything(cls, said: int | None, info: ValidationInfo) -> int | None:
        lossless = info.data.get("output_format") in (None, OutputFormat.PNG)
        if lossless and said not in (None, 100):
            raise ValueError("goes with output_format jpeg or webp; png keeps everything")
        return said


class GenerationsBody(ImagesBody):
    """The body of POST /v1/images/generations."""

    style: Literal["vivid", "natural"] | None = Field(
        default=None, description="Not used: the brand is the style."
    )


class EditsBody(ImagesBody):
    """What POST /v1/images/edits is told beside the pictures, in JSON and in a form alike."""

    strength: float | None = Field(
        default=None, gt=0, le=1, allow_inf_nan=False,
        description="How far the picture is left behind, that share of the steps being done: "
        f"{DEFAULT_STRENGTH}, and 1 with a mask. Ours.",
    )  # fmt: skip
    input_fidelity: Literal["low", "high"] | None = Field(
        default=None,
        description=f"`high` is a strength of {FAITHFUL_STRENGTH} where neither a strength nor a "
        "mask is said.",
    )


class EditsJson(EditsBody):
    """The body of POST /v1/images/edits in JSON."""

    image: SentPicture | None = Field(
        default=None, description="The picture to edit: PNG, JPEG or WebP in Base64 or a data URL."
    )
    images: list[Reference] | None = Field(
        default=None, description="The same as a list of one, as newer clients send it."
    )
    mask: Reference | None = Field(
        default=None,
        description="A picture of the same size: where it is transparent the other is repainted.",
    )

    @property
    def all_images(self) -> list[SentPicture]:
        """However they were said."""
        return [*([] if self.image is None else [self.image]), *(self.images or [])]
