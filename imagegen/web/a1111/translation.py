"""AUTOMATIC1111's words <-> ours. Pure: no HTTP, no service."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from imagegen.errors import FieldError, InvalidRequest
from imagegen.generation import Generation, GenerationRequest, ModelInfo, OutputFormat, Scheduler
from imagegen.parsing import parse_fields
from imagegen.presets import BrandPreset, PresetCatalog
from imagegen.provenance import A1111_SAMPLERS, read_record
from imagegen.web.a1111.bodies import Img2ImgBody, Txt2ImgBody
from imagegen.web.a1111.canvas import faults_of, notes
from imagegen.web.a1111.png_info import read_texts
from imagegen.web.a1111.samplers import find_scheduler
from imagegen.web.a1111.unsupported import (
    FIELDS,
    field_faults,
    setting_faults,
    weight_notes,
)

RANDOM_SEED = -1
_MOST_PICTURES = 8
_LONGEST_NAME = 80  # of a brand that is none, in the error
_FORMATS = {
    "png": OutputFormat.PNG,
    "jpg": OutputFormat.JPEG,
    "jpeg": OutputFormat.JPEG,
    "webp": OutputFormat.WEBP,
}
# Fields of a request in AUTOMATIC1111's words; all others have the same name in both.
_THEIR_NAMES = {
    "num_images": "batch_size",
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "scheduler": "sampler_name",
    "output_format": "override_settings.samples_format",
    "output_quality": "override_settings.jpeg_quality",
    "format": "width",
    "init_image": "init_images",
    "strength": "denoising_strength",
}


def to_request(
    asked: Txt2ImgBody, brands: PresetCatalog, model: ModelInfo | None
) -> GenerationRequest:
    """The request that `asked` means for the brand it names.

    brands: those that exist for the caller. model: the loaded one, if it is known. Raises
    InvalidRequest in AUTOMATIC1111's names, and UnknownBrand.
    """
    brand = choose_brand(asked, brands)
    settings = asked.override_settings or {}
    faults = [*field_faults(asked.model_extra or {}), *setting_faults(settings)]
    scheduler: Scheduler | None = None
    try:
        scheduler = find_scheduler(
            asked.sampler_name or asked.sampler_index,
            asked.scheduler,
            None if model is None else model.schedulers,
        )
    except InvalidRequest as error:
        faults.extend(error.fields)
    fields = {
        "brand": brand.id,
        "prompt": asked.prompt or "",
        "negative_prompt": _both(asked.negative_prompt, brand.negative_prompt),
        "num_images": _count(asked, faults),
        "width": asked.width,
        "height": asked.height,
        "num_inference_steps": asked.steps,
        "guidance_scale": asked.cfg_scale,
        "scheduler": scheduler,
        "seed": None if asked.seed == RANDOM_SEED else asked.seed,
        "output_format": _output_format(settings, faults),
        "output_quality": settings.get("jpeg_quality"),
        "campaign": asked.campaign,
        **_edit(asked, faults),
    }
    try:
        request = parse_fields({name: said for name, said in fields.items() if said is not None})
    except InvalidRequest as error:
        raise InvalidRequest(*faults, *_renamed(error).fields) from None
    if faults:
        raise InvalidRequest(*faults)
    return request


def choose_brand(asked: Txt2ImgBody, brands: PresetCatalog) -> BrandPreset:
    """The brand that a style, the checkpoint or our own field names, or the only one there is.

    Raises UnknownBrand, and InvalidRequest where several are named, or none of several.
    """
    checkpoint = (asked.override_settings or {}).get("sd_model_checkpoint")
    if not isinstance(checkpoint, str | None):
        raise InvalidRequest(FieldError("override_settings.sd_model_checkpoint", "must be a text"))
    said = [*(asked.styles or []), checkpoint or "", asked.brand or ""]
    named = list(dict.fromkeys(name.strip() for name in said if name.strip()))
    if len(named) == 1:
        return brands.get(named[0][:_LONGEST_NAME])
    if not named and len(brands) == 1:
        return next(iter(brands))
    known = ", ".join(preset.id for preset in brands) or "none"
    fault = "a picture has one brand" if named else "say which brand"
    raise InvalidRequest(
        FieldError(
            "styles",
            f"{fault}, here or in override_settings.sd_model_checkpoint; there are {known}",
        )
    )


@contextmanager
def in_their_words() -> Iterator[None]:
    """What is raised within about fields of a request is about AUTOMATIC1111's."""
    try:
        yield
    except InvalidRequest as error:
        raise _renamed(error) from None


def to_answer(asked: Txt2ImgBody, generation: Generation, files: Sequence[bytes]) -> dict[str, Any]:
    """The body of 200. files: the pictures' bytes, in order; each carries its own record."""
    sent = [] if asked.send_images is False else files
    told = [*weight_notes(asked), *(notes(asked) if isinstance(asked, Img2ImgBody) else ())]
    return {
        "images": [base64.b64encode(data).decode() for data in sent],
        "parameters": _parameters(asked),
        "info": json.dumps(_info(asked, generation, files, told), ensure_ascii=False),
    }


def _parameters(asked: Txt2ImgBody) -> dict[str, Any]:
    """What was asked, as it is said back there: what nobody knows is left out."""
    extra = asked.model_extra or {}
    known = {name: extra[name] for name in FIELDS if name in extra}
    said = asked.model_dump(exclude={"init_images", "mask", *extra})
    return {**said, **known}


def _info(
    asked: Txt2ImgBody, generation: Generation, files: Sequence[bytes], notes: Sequence[str]
) -> dict[str, Any]:
    """What AUTOMATIC1111's `Processed` says of pictures; `id` and `warnings` are ours."""
    records = [read_record(data) or {} for data in files]
    first = records[0]
    seeds = [record["seed"] for record in records]
    sampler, schedule_type = A1111_SAMPLERS[Scheduler(first["scheduler"])]
    extra = {} if schedule_type is None else {"Schedule type": schedule_type}
    return {
        "prompt": first["prompt"],
        "all_prompts": [record["prompt"] for record in records],
        "negative_prompt": first["negative_prompt"],
        "all_negative_prompts": [record["negative_prompt"] for record in records],
        "seed": seeds[0],
        "all_seeds": seeds,
        "subseed": seeds[0],
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": first["width"],
        "height": first["height"],
        "sampler_name": sampler,
        "cfg_scale": first["guidance_scale"],
        "steps": first["num_inference_steps"],
        "batch_size": 1 if asked.batch_size is None else asked.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": first["model"]["name"],
        "sd_model_hash": first["model"]["sha256"].removeprefix("sha256:")[:10],
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": first.get("strength"),
        "extra_generation_params": extra,
        "index_of_first_image": 0,
        "infotexts": [read_texts(data).parameters for data in files],
        "styles": [generation.brand],
        "job_timestamp": f"{generation.created_at:%Y%m%d%H%M%S}",
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": f"imagegen {first['versions']['imagegen']}",
        "id": generation.id,
        "warnings": [*generation.warnings, *notes],
    }


def _renamed(error: InvalidRequest) -> InvalidRequest:
    return type(error)(
        *(FieldError(_THEIR_NAMES.get(one.field, one.field), one.message) for one in error.fields)
    )


def _edit(asked: Txt2ImgBody, faults: list[FieldError]) -> dict[str, Any]:
    """The fields about a picture, which `canvas.with_pictures` makes ready later."""
    if not isinstance(asked, Img2ImgBody):
        return {}
    faults.extend(faults_of(asked))
    if not asked.init_images:
        return {}
    return {"init_image": asked.init_images[0], "strength": asked.denoising_strength}


def _both(said: str | None, brand_s: str) -> str | None:
    """A style's words come after the caller's own; None leaves it to the brand."""
    if not (said or "").strip():
        return None
    return ", ".join(text for text in ((said or "").strip(), brand_s) if text)


def _count(asked: Txt2ImgBody, faults: list[FieldError]) -> int:
    batch_size = 1 if asked.batch_size is None else asked.batch_size
    n_iter = 1 if asked.n_iter is None else asked.n_iter
    if batch_size < 1 or n_iter < 1 or batch_size * n_iter > _MOST_PICTURES:
        faults.append(FieldError("batch_size", f"times n_iter must be 1 to {_MOST_PICTURES}"))
        return 1
    return batch_size * n_iter


def _output_format(settings: Mapping[str, Any], faults: list[FieldError]) -> OutputFormat | None:
    said = settings.get("samples_format")
    if said is None:
        return None
    found = _FORMATS.get(said.lower()) if isinstance(said, str) else None
    if found is None:
        faults.append(
            FieldError("override_settings.samples_format", f"must be {', '.join(_FORMATS)}")
        )
    return found
