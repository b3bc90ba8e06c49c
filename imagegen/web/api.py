"""The API: what may be asked, in the domain's own names."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urljoin

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from imagegen.branding.drift import drift_of
from imagegen.errors import UnknownImage
from imagegen.generation import (
    GenerationRequest,
    ModelInfo,
    OutputFormat,
)
from imagegen.generations.register import ListQuery
from imagegen.presets import BrandPreset, PresetCatalog
from imagegen.presets.formats import built_in_formats
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.images import picture_response
from imagegen.web.links import root_of

_COVER_CACHING = "public, max-age=3600"
_COVER_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}


def api_blueprint(parts: Collaborators) -> Blueprint:
    """What a program asks before it asks for pictures."""
    api = Blueprint("api", __name__)
    engine = parts.engine

    def catalog() -> PresetCatalog:
        return parts.catalog.seen_by(current_caller())

    @api.get("/brands")
    def brands() -> ResponseReturnValue:
        model, seen = engine.status().model, catalog()
        return jsonify(
            brands=[_brand(preset, model, root_of(request)) for preset in seen],
            refused=[{"brand": id_ or None, "reason": why} for id_, why in seen.refused.items()],
        )

    @api.get("/brands/<brand>")
    def brand(brand: str) -> ResponseReturnValue:
        return jsonify(_brand(catalog().get(brand), engine.status().model, root_of(request)))

    @api.get("/brands/<brand>/cover")
    def cover(brand: str) -> ResponseReturnValue:
        picture = catalog().get(brand).cover
        if picture is None or not picture.is_file():
            raise UnknownImage(f"brand {brand!r} has no cover")
        content_type = _COVER_TYPES[picture.suffix.lower()]
        return picture_response(picture.read_bytes(), content_type, _COVER_CACHING)

    @api.get("/brands/<brand>/drift")
    def drift(brand: str) -> ResponseReturnValue:
        caller = current_caller()
        query = ListQuery(brand=catalog().get(brand).id, limit=100)
        records = parts.generations.list(caller, query).records
        scores = [
            image.score.total
            for record in reversed(records)
            for image in record.images
            if image.score is not None
        ]
        return jsonify(drift_of(scores).model_dump())

    @api.get("/capabilities")
    def capabilities() -> ResponseReturnValue:
        return jsonify(_capabilities(catalog(), engine.status().model))

    return api


def _brand(preset: BrandPreset, model: ModelInfo | None, root: str) -> dict[str, Any]:
    public = preset.to_public(model).model_dump(mode="json")
    has_cover = public.pop("has_cover")
    cover_url = urljoin(root, f"/brands/{preset.id}/cover") if has_cover else None
    return {**public, "cover_url": cover_url}


def _capabilities(catalog: PresetCatalog, model: ModelInfo | None) -> dict[str, Any]:
    """What may be asked. What depends on the model is null until one is loaded."""
    formats = None
    if model is not None:
        sizes = built_in_formats(model.native_px)
        formats = {name: {"width": size[0], "height": size[1]} for name, size in sizes.items()}
    known = None if model is None else asdict(model)
    if known is not None:
        del known["row_limits"]  # how much fits in a step is the engine's affair
    return {
        "model": known,
        "brands": [preset.id for preset in catalog],
        "formats": formats,
        "schedulers": None if model is None else list(model.schedulers),
        "output_formats": list(OutputFormat),
        "request": GenerationRequest.model_json_schema(),
    }
