"""Provenance: what a picture's file says about how it was made, and how to read it again.

A file carries three records, which `encoding.py` puts there. All follow from the picture alone: no
time, no generation id, no path of this machine. So the same picture gives the same bytes.

| record                                   | PNG                     | JPEG, WebP              |
|------------------------------------------|-------------------------|-------------------------|
| `parameters`, AUTOMATIC1111's text       | text chunk `parameters` | EXIF UserComment        |
| ours, JSON: every fact of the RenderSpec | text chunk `imagegen`   | XMP `imagegen:record`   |
| IPTC: made or edited by a trained model  | XMP `DigitalSourceType` | XMP `DigitalSourceType` |
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any
from xml.sax.saxutils import escape, unescape

from imagegen import __version__
from imagegen.branding.overlay import Overlay
from imagegen.edits import Edit
from imagegen.generation import Rendering, RenderSpec, Scheduler

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED_ALGORITHMIC_MEDIA = f"{_SOURCE_TYPES}trainedAlgorithmicMedia"
COMPOSITE = (
    f"{_SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"  # with something that no model made
)

# AUTOMATIC1111's sampler and schedule type, in its own spelling.
A1111_SAMPLERS: dict[Scheduler, tuple[str, str | None]] = {
    Scheduler.DDIM: ("DDIM", None),
    Scheduler.DDPM: ("DDPM", None),
    Scheduler.EULER: ("Euler", None),
    Scheduler.EULER_A: ("Euler a", None),
    Scheduler.DPMPP_2M: ("DPM++ 2M", None),
    Scheduler.DPMPP_2M_KARRAS: ("DPM++ 2M", "Karras"),
    Scheduler.UNIPC: ("UniPC", None),
    Scheduler.LCM: ("LCM", None),
}

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_TEXT_HEAD = b"imagegen\0\0\0\0\0"  # keyword, not compressed, no language, no translation
_RECORD_IN_XMP = re.compile(rb"<imagegen:record>([^<]*)</imagegen:record>")
_MAX_RECORD_BYTES = 1 << 20


@functools.cache
def installed_versions() -> Mapping[str, str]:
    """What made the picture, name to version; a library that is not installed is left out."""
    versions = {"imagegen": __version__}
    for name in ("diffusers", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True)
class Record:
    """What a file says beside its Rendering."""

    preset_version: str
    campaign: str | None
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    overlay: Overlay | None = None  # what was laid on the picture afterwards


def a1111_parameters(rendering: Rendering, record: Record) -> str:
    """The text that AUTOMATIC1111's web UI writes and dozens of programs read.

    `Negative prompt:` inside a prompt gets a space before its colon, for readers split there.
    """
    spec, model = rendering.spec, rendering.model
    sampler, schedule_type = A1111_SAMPLERS[spec.scheduler]
    settings: dict[str, object] = {"Steps": spec.num_inference_steps, "Sampler": sampler}
    if schedule_type is not None:
        settings["Schedule type"] = schedule_type
    settings |= {
        "CFG scale": _number(spec.guidance_scale),
        "Seed": spec.seed,
        "Size": f"{spec.width}x{spec.height}",
        "Model hash": _digest(model.sha256)[:10],
        "Model": _quoted(_last_name(model.name)),
    }
    if spec.edit is not None:
        settings["Denoising strength"] = _number(spec.edit.strength)
    if spec.adapters:
        hashes = ", ".join(f"{use.path.stem}: {_digest(use.sha256)[:12]}" for use in spec.adapters)
        settings["Lora hashes"] = json.dumps(hashes, ensure_ascii=False)
    settings["Version"] = f"imagegen {record.versions.get('imagegen', __version__)}"
    lines = [_without_marker(spec.prompt)]
    if spec.negative_prompt:
        lines.append(f"Negative prompt: {_without_marker(spec.negative_prompt)}")
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items()))
    return "\n".join(lines)


def json_record(rendering: Rendering, record: Record) -> str:
    """Our record: every fact of the RenderSpec, the model and the program, as one line of JSON."""
    text = json.dumps(_facts(rendering, record), ensure_ascii=False, separators=(",", ":"))
    return re.sub(
        "[\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", text
    )  # not allowed in XML


def xmp_packet(rendering: Rendering, record: Record, ours: str = "") -> bytes:
    """An XMP packet (ISO 16684-1) with IPTC's digital source type and, unless empty, our record."""
    is_pure = rendering.spec.edit is None and record.overlay is None
    source = TRAINED_ALGORITHMIC_MEDIA if is_pure else COMPOSITE
    version = escape(record.versions.get("imagegen", __version__))
    element = _element(ours)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:imagegen="urn:imagegen:record:1/">'
        f"<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>"
        f"<xmp:CreatorTool>imagegen {version}</xmp:CreatorTool>{element}"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def with_record(packet: str, ours: str) -> str:
    """An XMP packet of ours with that record in it, or without one; others stay as they are."""
    bare = re.sub(r"<imagegen:record>.*?</imagegen:record>", "", packet, flags=re.DOTALL)
    return bare.replace("</rdf:Description>", f"{_element(ours)}</rdf:Description>", 1)


def json_text(data: bytes) -> str:
    """The record in a file of ours, as it stands there; "" where there is none."""
    return (_find_record(data) or b"").decode()


def _element(ours: str) -> str:
    return f"<imagegen:record>{escape(ours)}</imagegen:record>" if ours else ""


def read_record(data: bytes) -> dict[str, Any] | None:
    """The JSON record that `encoding.encode` put into a PNG, JPEG or WebP file.

    None for a file without one, for anything else and for a file cut short. Nothing is decoded or
    decompressed, so a hostile file costs no more than its length.
    """
    ours = _find_record(data)
    if ours is None or len(ours) > _MAX_RECORD_BYTES:
        return None
    try:
        record = json.loads(ours)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _facts(rendering: Rendering, record: Record) -> dict[str, object]:
    spec, model = rendering.spec, rendering.model
    return {
        **_spec_facts(spec),
        "model": {
            "name": _last_name(model.name),
            "sha256": model.sha256,
            "family": model.family,
            "device": model.device,
            "dtype": model.dtype,
        },
        "preset_version": record.preset_version,
        "campaign": record.campaign,
        **({} if record.overlay is None else {"overlay": record.overlay.model_dump()}),
        "versions": dict(record.versions),
    }


def _spec_facts(spec: RenderSpec) -> dict[str, object]:
    return {
        "brand": spec.brand,
        "prompt": spec.prompt,
        "negative_prompt": spec.negative_prompt,
        "width": spec.width,
        "height": spec.height,
        "num_inference_steps": spec.num_inference_steps,
        "guidance_scale": spec.guidance_scale,
        "scheduler": spec.scheduler.value,
        "seed": spec.seed,
        "exact": spec.exact,
        "adapters": [
            {"file": use.path.name, "sha256": use.sha256, "weight": use.weight}
            for use in spec.adapters
        ],
        **({} if spec.edit is None else _edit_facts(spec.edit)),
    }


def _edit_facts(edit: Edit) -> dict[str, object]:
    """The hashes of the files that were sent, never the pictures themselves."""
    facts: dict[str, object] = {
        "strength": edit.strength,
        "init_image": {"sha256": edit.init_image.sha256},
    }
    if edit.mask is not None:
        facts["mask"] = {"sha256": edit.mask.sha256}
    return facts


def _find_record(data: bytes) -> bytes | None:
    if data.startswith(_PNG_MAGIC):
        return _record_in_png(data)
    if data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9"):
        return _record_in_xmp(_jpeg_segments(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _record_in_xmp(_webp_chunks(data))
    return None


def _record_in_png(data: bytes) -> bytes | None:
    """The text of our chunk, in a file whose chunks reach to its end (PNG, section 11.3.3.4)."""
    found, at, kind = None, len(_PNG_MAGIC), b""
    while at + 12 <= len(data) and kind != b"IEND":
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"iTXt" and data.startswith(_PNG_TEXT_HEAD, at + 8) and found is None:
            found = data[at + 8 + len(_PNG_TEXT_HEAD) : at + 8 + size]
        at += 12 + size
    return found if kind == b"IEND" and at <= len(data) else None


def _record_in_xmp(packets: Iterator[bytes]) -> bytes | None:
    for packet in packets:
        if match := _RECORD_IN_XMP.search(packet):
            return unescape(match[1].decode(errors="replace")).encode()
    return None


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    """The XMP packets before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data.startswith(_JPEG_XMP, at + 4):
            yield data[at + 4 + len(_JPEG_XMP) : at + 2 + size]
        at += 2 + size


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    """The XMP chunks of a RIFF file whose length is what its header says."""
    if len(data) != 8 + int.from_bytes(data[4:8], "little"):
        return
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"XMP ":
            yield data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _without_marker(text: str) -> str:
    return text.replace("Negative prompt:", "Negative prompt :")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _digest(sha256: str) -> str:
    return sha256.removeprefix("sha256:")


def _last_name(name: str) -> str:
    """A model's own name: its folder may be anywhere, and where is nobody's business."""
    return name.rstrip("/").rpartition("/")[2]


def _quoted(text: str) -> str:
    """As AUTOMATIC1111 does it: a value with a separator in it is a JSON string."""
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text
