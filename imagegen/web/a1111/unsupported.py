"""What AUTOMATIC1111 does and this service does not: fields and settings, and what says "off".

Each must be null or one of the values listed, which its clients send by default (webuiapi: `eta` 1,
sizes of 0). Anything else would be a picture other than the one asked for, so it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from imagegen.errors import FieldError
from imagegen.web.a1111.bodies import Txt2ImgBody

FIELDS: Mapping[str, tuple[object, ...]] = {
    "enable_hr": (False,),
    "restore_faces": (False,),
    "tiling": (False,),
    "script_name": ("", "None"),
    "alwayson_scripts": ({},),
    "controlnet_units": ([],),
    "refiner_checkpoint": ("", "None"),
    "infotext": ("",),
    "init_images": ([],),
    "mask": ("",),
    "subseed_strength": (0,),
    "seed_resize_from_w": (0, -1),
    "seed_resize_from_h": (0, -1),
    "eta": (0, 1),  # DDIM's own and that of ancestral samplers
    "s_min_uncond": (0,),
    "s_churn": (0,),
    "s_tmin": (0,),
    "s_tmax": (0,),
    "s_noise": (1,),
    "initial_noise_multiplier": (1,),
    "token_merging_ratio": (0,),
    "clip_skip": (1, 0),
}
_INSTEAD = {
    "enable_hr": "ask for the size you want with width and height",
    "alwayson_scripts": "no script is installed",
    "script_name": "no script is installed",
    "controlnet_units": "no script is installed",
    "init_images": "send it to img2img",
    "mask": "send it to img2img",
    "infotext": "say its values in the fields of their own",
}
# Those that GET options tells; the first value is what it says.
SETTINGS: Mapping[str, tuple[object, ...]] = {
    "CLIP_stop_at_last_layers": (1,),
    "sd_vae": ("Automatic", "None"),
    "eta_noise_seed_delta": (0,),
    "token_merging_ratio": (0,),
    "s_churn": (0,),
    "s_noise": (1,),
    "samples_save": (True, False),  # every picture is stored, with a record
    "return_grid": (False, True),  # no grid is made of an API's pictures there either
}
_SETTINGS_READ = ("sd_model_checkpoint", "samples_format", "jpeg_quality")


_WEIGHT = re.compile(r"\([^()]*:\s*[0-9.]+\s*\)")


def weight_notes(asked: Txt2ImgBody) -> list[str]:
    """What is said about prompts that weigh their words as there."""
    texts = {"prompt": asked.prompt, "negative_prompt": asked.negative_prompt}
    return [
        f"{name}: {found[0]} is read as plain words; weights are not done"
        for name, text in texts.items()
        if (found := _WEIGHT.search(text or ""))
    ]


def field_faults(said: Mapping[str, Any]) -> Iterator[FieldError]:
    """What is wrong with the fields a body has beside those that are read."""
    for name, off in FIELDS.items():
        value = said.get(name)
        if value is not None and value not in off:
            instead = _INSTEAD.get(name, f"leave it out or say {json.dumps(off[0])}")
            yield FieldError(name, f"is not done here; {instead}")


def setting_faults(said: Mapping[str, Any]) -> Iterator[FieldError]:
    """What is wrong with `override_settings`; a setting nobody knows is refused there too."""
    for name, value in said.items():
        if name in _SETTINGS_READ or value is None or value in SETTINGS.get(name, ()):
            continue
        known = ", ".join([*_SETTINGS_READ, *SETTINGS])
        off = SETTINGS.get(name)
        instead = f"there are {known}" if off is None else f"say {json.dumps(off[0])}"
        yield FieldError(f"override_settings.{name[:80]}", f"is not done here; {instead}")
