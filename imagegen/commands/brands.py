"""`imagegen presets` and `imagegen train-lora`: what an operator does with brands."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

from pydantic_core import to_jsonable_python

from imagegen.batch.image_source import unknown_brand
from imagegen.commands.progress import StepProgress
from imagegen.errors import InvalidModel, InvalidPreset, InvalidSettings
from imagegen.logs import printable
from imagegen.presets import BrandPreset, PresetCatalog, check_presets
from imagegen.presets.files import read_words
from imagegen.renderers import local_model_folder
from imagegen.settings import Settings

DONE, FAULTS = 0, 1


def presets_list(arguments: Namespace) -> int:
    catalog = PresetCatalog.load(_presets_folder())
    for preset in catalog:
        if arguments.json:
            print(json.dumps({"id": preset.id, "name": preset.name, "version": preset.version}))
        else:
            print(f"{preset.id:<20} {preset.name}: {preset.description}")
    return DONE


def presets_check(arguments: Namespace) -> int:
    """Against the model too where it lies on this machine; a Hub id's is checked as it loads."""
    settings = Settings.from_environment()
    folder = _presets_folder()
    faults, unseen = find_faults(settings, folder)
    if arguments.json:
        print(json.dumps({"faults": faults, "against_model": not unseen}, ensure_ascii=False))
    else:
        verdict = f"{folder}: every brand is in order{unseen}"
        print("\n".join(map(printable, faults)) or printable(verdict))
    return FAULTS if faults else DONE


def find_faults(settings: Settings, folder: Path) -> tuple[list[str], str]:
    """All faults of the brands in `folder`, and a half-sentence about what could not be checked."""
    model = local_model_folder(settings.model)
    if model is not None:
        return check_presets(folder, model), ""
    what = f"whether LoRAs and sizes fit {settings.model}"
    unseen = f"; {what} was not checked: it is not a folder here"
    try:
        PresetCatalog.load(folder)
    except InvalidPreset as error:
        return str(error).splitlines(), unseen
    return [], unseen


def presets_show(arguments: Namespace) -> int:
    preset = _brand(arguments.brand)
    content = to_jsonable_python(
        {name: getattr(preset, name) for name in preset.__dataclass_fields__ if name != "kit"},
        fallback=dict,
    ) | {"kit": preset.kit.described()}
    if arguments.json:
        print(json.dumps(content, ensure_ascii=False))
        return DONE
    for name, value in content.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print(printable(f"{name:<16} {text}"))
    return DONE


def train_lora(arguments: Namespace) -> int:
    if Settings.from_environment().presets.startswith("gs://"):
        raise InvalidSettings("training writes into a brand's folder: name one that is not gs://…")
    brand = _presets_folder() / arguments.brand
    if not brand.is_dir():
        there = [folder.name for folder in _presets_folder().glob("*/")]
        raise unknown_brand(arguments.brand, there)
    # training and use have the brand's words in common; the preset's LoRA need not exist yet
    words = read_words(brand)
    model = local_model_folder(Settings.from_environment().model)
    if model is None:
        raise InvalidModel("training needs IMAGEGEN_MODEL to be a folder on this machine")

    from imagegen.diffusion.training import train_lora

    progress = StepProgress(sys.stderr)
    written = train_lora(
        brand,
        arguments.images,
        model=model,
        template=words.prompt.template,
        steps=arguments.steps,
        rank=arguments.rank,
        learning_rate=arguments.learning_rate,
        resolution=arguments.resolution,
        seed=arguments.seed,
        progress=progress.step,
    )
    progress.close()
    print(written)
    if written.name not in {adapter.file for adapter in words.adapters}:
        print(f"not in use yet: add `adapters: [{{file: {written.name}}}]` to the preset.yaml")
    return DONE


def _presets_folder() -> Path:
    presets = Settings.from_environment().presets
    if not presets.startswith("gs://"):
        return Path(presets)
    from imagegen.live_brands import presets_folder

    return presets_folder(presets)


def _brand(brand: str) -> BrandPreset:
    presets = {preset.id: preset for preset in PresetCatalog.load(_presets_folder())}
    if brand not in presets:
        raise unknown_brand(brand, presets)
    return presets[brand]
