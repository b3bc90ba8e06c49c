"""What there is to choose from, as AUTOMATIC1111 lists it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagegen.errors import FieldError, InvalidRequest
from imagegen.generation import Scheduler
from imagegen.presets import PresetCatalog
from imagegen.web.a1111.samplers import KARRAS, aliases_of, name_of, offered
from imagegen.web.a1111.unsupported import SETTINGS

Item = dict[str, Any]

# The same for everybody: what a caller cannot choose here there is none of.
FIXED: Mapping[str, Any] = {
    "cmd-flags": {},
    "embeddings": {"loaded": {}, "skipped": {}},
    "extensions": [],
    "face-restorers": [],
    "hypernetworks": [],
    "latent-upscale-modes": [],
    "loras": [],
    "realesrgan-models": [],
    "script-info": [],
    "scripts": {"txt2img": [], "img2img": []},
    "sd-vae": [],
    "upscalers": [],
}
_MOST_FAULTS = 20
_LONGEST_NAME = 80


def sampler_items(allowed: Sequence[Scheduler] | None) -> list[Item]:
    """allowed: the model's schedulers; None where no model is known yet."""
    return [
        {"name": name_of(scheduler), "aliases": aliases_of(scheduler), "options": {}}
        for scheduler in offered(allowed)
    ]


def schedule_items() -> list[Item]:
    """The schedule types."""
    return [
        {
            "name": label.lower(), "label": label, "aliases": None,
            "default_rho": 7.0 if label == KARRAS else -1.0, "need_inner_model": False,
        }
        for label in ("Automatic", KARRAS)
    ]  # fmt: skip


def model_items(brands: PresetCatalog) -> list[Item]:
    """Each brand as a model, for clients that know no styles; the hash is the preset's."""
    digests = {preset.id: preset.version.removeprefix("sha256:") for preset in brands}
    return [
        {
            "title": brand, "model_name": brand, "hash": digest[:10], "sha256": digest,
            "filename": brand, "config": None,
        }
        for brand, digest in digests.items()
    ]  # fmt: skip


def style_items(brands: PresetCatalog) -> list[Item]:
    """Each brand as a style; its words are its own affair."""
    return [{"name": preset.id, "prompt": "", "negative_prompt": ""} for preset in brands]


def option_values(brands: PresetCatalog) -> Item:
    """What holds where a request says nothing else; no checkpoint where several brands might."""
    return {
        "sd_model_checkpoint": next(iter(brands)).id if len(brands) == 1 else None,
        "samples_format": "png",
        "jpeg_quality": 90,
        **{name: values[0] for name, values in SETTINGS.items()},
    }


def refuse_other_options(said: Mapping[str, Any], brands: PresetCatalog) -> None:
    """Raises InvalidRequest for what would be another setting than those that hold.

    There they hold for everybody; here they would on one instance of many, while it lives.
    """
    hold = option_values(brands)
    faults = [
        FieldError(
            name[:_LONGEST_NAME],
            "settings are not kept between requests; say it with each, in override_settings",
        )
        for name, value in said.items()
        if value is not None and (name not in hold or value != hold[name])
    ]
    if faults:
        raise InvalidRequest(*faults[:_MOST_FAULTS])
