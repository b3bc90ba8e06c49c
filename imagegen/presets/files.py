"""A brand's folder, read and checked: every fault with the file's line and key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imagegen.branding.kit import BrandKit
from imagegen.errors import InvalidPreset
from imagegen.generation import BRAND_PATTERN, AdapterUse
from imagegen.model_sizes import SideLimits
from imagegen.presets.entries import names_a_file_below
from imagegen.presets.kit import KitFiles, differing_shapes, kit_of, read_kit
from imagegen.presets.marked_yaml import MAX_BYTES, Marked, Place, YamlFault, read_yaml
from imagegen.presets.schema import BrandDefaults, PresetFile, Size

FILE_NAME = "preset.yaml"

AdapterCheck = Callable[[Path], list[str]]  # a LoRA file's faults

_DEFAULT_COVERS = ("cover.png", "cover.jpg", "cover.webp")
_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": "is not a known key",
    "string_type": "must be a text, not {said}",
    "list_type": "must be a list, not {said}",
    "dict_type": "must be a table, not {said}",
    "model_type": "must be a table, not {said}",
}


@dataclass(frozen=True)
class BrandFolder:
    """What a brand's folder holds, in order: nothing in it needs another look before a request."""

    brand: str
    content: PresetFile
    adapters: tuple[AdapterUse, ...]
    cover: Path | None
    kit: BrandKit
    version: str  # "sha256:…" of the preset's content and its adapters' and its kit's bytes


def list_brands(folder: Path) -> tuple[list[Path], list[str]]:
    """The brands' folders below `folder`, and what is wrong with the folder itself."""
    if not folder.is_dir():
        return [], [f"{folder}: there is no such folder of brands"]
    brands = [f for f in sorted(folder.iterdir()) if f.is_dir() and not f.name.startswith(".")]
    if not brands:
        return [], [f"{folder}: holds no brand; a brand is a folder with a {FILE_NAME}"]
    return brands, []


def read_brand(
    folder: Path, check: AdapterCheck, sides: SideLimits | None = None
) -> BrandFolder | list[str]:
    """The brand in `folder`, or all of its faults as `file:line: key: message`.

    sides: what the model draws, where that is known.
    """
    file = folder / FILE_NAME
    try:
        marked = _read_marked(file, folder)
    except InvalidPreset as error:
        return [str(error)]
    found: list[tuple[Place, str]] = []
    if not re.fullmatch(BRAND_PATTERN, folder.name):
        found.append(((), f"the folder's name {folder.name!r} must match {BRAND_PATTERN}"))
    content = _validate(marked, found)
    if content is not None and sides is not None:
        found += _too_small_or_large(content, sides)
    hashes = _check_adapters(folder, marked.value, check, found)
    cover = _find_cover(folder, marked.value, found)
    kit_files = _read_kit(folder, marked.value, found)
    if content is not None and content.kit is not None and not found:
        found += differing_shapes(content.kit, kit_files)
    if content is None or found:
        return _sentences(file, marked, found)
    adapters = tuple(
        AdapterUse(folder / entry.file, hashes[entry.file], entry.weight)
        for entry in content.adapters
    )
    kit = kit_of(content.kit, kit_files, tuple(content.palette))
    version = _version(content, hashes, kit_files.hashes)
    return BrandFolder(folder.name, content, adapters, cover, kit, version)


def read_words(folder: Path) -> PresetFile:
    """What the preset says, whether or not the files it names are there yet.

    Raises InvalidPreset with every fault, one a line.
    """
    file = folder / FILE_NAME
    marked = _read_marked(file, folder)
    found: list[tuple[Place, str]] = []
    content = _validate(marked, found)
    if content is None or found:
        raise InvalidPreset("\n".join(_sentences(file, marked, found)))
    return content


def _read_marked(file: Path, folder: Path) -> Marked:
    try:
        return read_yaml(_read_bounded(file, folder))
    except YamlFault as fault:
        raise InvalidPreset(_sentence(file, fault.line, "", str(fault))) from None
    except OSError as error:
        raise InvalidPreset(f"{file}: {error.strerror or error}") from None


def _read_bounded(file: Path, folder: Path) -> bytes:
    if not _is_inside(file, folder):
        raise OSError("this is a link that leaves the brand's folder")
    if not file.is_file():
        raise OSError("there is no such file; every folder of a brand has one")
    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


def _validate(marked: Marked, found: list[tuple[Place, str]]) -> PresetFile | None:
    if not isinstance(marked.value, dict):
        found.append(((), "must be a table that begins with name: …"))
        return None
    try:
        content = PresetFile.model_validate(marked.value)
    except ValidationError as error:
        found.extend(
            (tuple(part for part in finding["loc"] if part != "[key]"), _message(finding))
            for finding in error.errors(include_url=False)
        )
        return None
    found.extend(content.contradictions())
    return content


def _message(finding: ErrorDetails) -> str:
    if finding["type"] == "value_error":
        return str(finding["ctx"]["error"])
    said = repr(finding["input"])
    said = said if len(said) <= 60 else f"{said[:59]}…"
    if finding["type"] in _SENTENCES:
        return _SENTENCES[finding["type"]].format(said=said)
    return f"{finding['msg'][:1].lower()}{finding['msg'][1:]}, not {said}"


def _too_small_or_large(content: PresetFile, sides: SideLimits) -> list[tuple[Place, str]]:
    sizes: dict[Place, Size | BrandDefaults] = {("defaults",): content.defaults}
    sizes |= {("formats", name): size for name, size in content.formats.items()}
    message = f"this model draws {sides.min_px} to {sides.max_px} pixels a side, not"
    return [
        ((*place, name), f"{message} {px}")
        for place, size in sizes.items()
        for name, px in (("width", size.width), ("height", size.height))
        if px is not None and not sides.min_px <= px <= sides.max_px
    ]


def _check_adapters(
    folder: Path, value: object, check: AdapterCheck, found: list[tuple[Place, str]]
) -> dict[str, str]:
    """Hashes the LoRA files, even of a preset with faults elsewhere, and notes what is wrong."""
    hashes: dict[str, str] = {}
    entries = value.get("adapters") if isinstance(value, dict) else None
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("file") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not names_a_file_below(name):
            continue  # the schema says so
        place: Place = ("adapters", index, "file")
        path = folder / name
        if not _is_inside(path, folder):
            found.append((place, f"{name!r} leaves the brand's folder"))
            continue
        faults = check(path)
        found.extend((place, f"{name}: {fault}") for fault in faults)
        if (sha256 := _sha256(path)) is None:
            continue  # the check says so
        hashes[name] = sha256
        wanted = entry.get("sha256")
        if isinstance(wanted, str) and wanted != sha256:
            message = f"{name} is another file: its hash is {sha256}"
            found.append((("adapters", index, "sha256"), message))
    return hashes


def _read_kit(folder: Path, value: object, found: list[tuple[Place, str]]) -> KitFiles:
    said = value.get("kit") if isinstance(value, dict) else None
    return read_kit(folder, partial(_is_inside, folder=folder), said, found)


def _find_cover(folder: Path, value: object, found: list[tuple[Place, str]]) -> Path | None:
    named = value.get("cover") if isinstance(value, dict) else None
    if not isinstance(named, str) or not names_a_file_below(named):
        covers = [folder / name for name in _DEFAULT_COVERS]
        cover = next((c for c in covers if c.is_file() and _is_inside(c, folder)), None)
        if cover is not None and not _is_picture(cover):
            found.append(((), f"{cover.name} is no PNG, JPEG or WebP picture"))
        return cover
    cover = folder / named
    if not _is_inside(cover, folder):
        found.append((("cover",), f"{named!r} leaves the brand's folder"))
    elif not cover.is_file():
        found.append((("cover",), f"there is no file {named!r} in the brand's folder"))
    elif not _is_picture(cover):
        found.append((("cover",), f"{named!r} is no PNG, JPEG or WebP picture"))
    return cover


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(12)
    webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return webp or start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a circle of links
        return False


def _sha256(path: Path) -> str | None:
    if not path.is_file():  # a named pipe would be waited for
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _version(content: PresetFile, adapters: Mapping[str, str], kit: Mapping[str, str]) -> str:
    """Changes with any value of the preset and any byte of its files, not with comments.

    A brand without a kit has the version that it had before there were any.
    """
    said: dict[str, object] = {
        "preset": content.model_dump(mode="json", exclude=None if content.kit else {"kit"}),
        "adapters": dict(adapters),
    }
    if kit:
        said["kit"] = dict(kit)
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


def _key(place: Place) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return key.removeprefix(".")


def _sentences(file: Path, marked: Marked, found: list[tuple[Place, str]]) -> list[str]:
    faults = sorted((marked.line(place), _key(place), message) for place, message in found)
    return [_sentence(file, *fault) for fault in faults]


def _sentence(file: Path, line: int, key: str, message: str) -> str:
    text = f"{file}:{line}: {key}: {message}" if key else f"{file}:{line}: {message}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
