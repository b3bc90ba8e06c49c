"""What OpenAI's clients get, as openai 3.57 types it; `id`, `warnings` and `seed` are ours."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class ImageItem(_Answer):
    """One picture: the file, or where it is."""

    b64_json: str | None = Field(default=None, description="The file in Base64.")
    url: str | None = Field(default=None, description="Where the file is.")
    seed: int


class InputTokens(_Answer):
    """What was asked, counted."""

    text_tokens: int
    image_tokens: int = 0


class OutputTokens(_Answer):
    """What was made, counted."""

    image_tokens: int
    text_tokens: int = 0


class TokenUsage(_Answer):
    """Tokens are not what pictures are made of: words in, denoising steps out."""

    input_tokens: int = Field(description="Words and punctuation marks of the prompt.")
    output_tokens: int = Field(description="Denoising steps of all pictures.")
    total_tokens: int
    input_tokens_details: InputTokens
    output_tokens_details: OutputTokens


class ImagesAnswer(_Answer):
    """The pictures that were asked for."""

    created: int = Field(description="Seconds since 1970.")
    id: str = Field(description="The generation's id, as in `GET /generations/{id}`.")
    data: list[ImageItem]
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png", "jpeg", "webp"]
    quality: Literal["low", "medium", "high", "xhigh", "max"]
    size: str = Field(description="WIDTHxHEIGHT in pixels.")
    usage: TokenUsage
    warnings: list[str]


class _StreamedImage(_Answer):
    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int = Field(description="Seconds since 1970.")
    output_format: Literal["png", "jpeg", "webp"]
    quality: Literal["low", "medium", "high", "xhigh", "max"]
    size: str


class PartialImageEvent(_StreamedImage):
    """A look at a picture on its way: as large as it will be, and blurred."""

    type: Literal["image_generation.partial_image", "image_edit.partial_image"]
    partial_image_index: int


class CompletedEvent(_StreamedImage):
    """A picture is ready."""

    type: Literal["image_generation.completed", "image_edit.completed"]
    usage: TokenUsage
    id: str
    seed: int


class ModelItem(_Answer):
    """A brand, as a model."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default=0, description="Always 0: brands have versions, not birthdays.")
    owned_by: str = "imagegen"


class ModelList(_Answer):
    """The brands that the caller may use."""

    object: Literal["list"] = "list"
    data: list[ModelItem]


class ErrorItem(_Answer):
    """What went wrong; all four keys are always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(_Answer):
    """Every failure below /v1."""

    error: ErrorItem
