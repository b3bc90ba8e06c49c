"""The API: POST /generate and what may be asked, in the domain's own names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import urljoin

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from imagegen.errors import UnknownImage
from imagegen.generation import (
    Generation,
    GenerationRequest,
    ModelInfo,
    OutputFormat,
)
from imagegen.presets import BrandPreset, PresetCatalog
from imagegen.presets.formats import built_in_formats
from imagegen.web.auth import current_caller
from imagegen.web.caller import still_there
from imagegen.web.collaborators import Collaborators
from imagegen.web.images import picture_response
from imagegen.web.links import root_of, with_absolute_links
from imagegen.web.negotiation import negotiate, read_request

_COVER_CACHING = "public, max-age=3600"
_COVER_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}


def api_blueprint(parts: Collaborators) -> Blueprint:
    """The routes a program uses."""
    api = Blueprint("api", __name__)
    service, engine = parts.service, parts.engine

    def catalog() -> PresetCatalog:
        return parts.catalog.seen_by(current_caller())

    @api.post("/generate")
    def generate() -> ResponseReturnValue:
        root = root_of(request)  # a Host that is none is refused before anything is rendered
        asked, as_picture = negotiate(request.accept_mimetypes, read_request(request))
        ask = partial(service.generate, asked, caller=current_caller(), wanted=still_there(request))
        return _as_picture(ask, root) if as_picture else _as_json(ask, root)

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


def _as_json(ask: Callable[..., Generation], root: str) -> Response:
    """What nobody reads is not fetched: the files stay where they are."""
    generation = with_absolute_links(ask(), root)
    return Response(generation.model_dump_json(), mimetype="application/json")


def _as_picture(ask: Callable[..., Generation], root: str) -> Response:
    """The file itself; what the JSON answer would have said is in the headers."""
    files: list[bytes] = []
    generation = ask(on_image=lambda _image, data: files.append(data))
    generation = with_absolute_links(generation, root)
    [image], [data] = generation.images, files
    response = Response(data, content_type=image.content_type)
    response.set_etag(image.sha256)
    response.headers["Content-Location"] = image.url
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Generation-Id"] = generation.id
    response.headers["X-Seed"] = str(image.seed)
    if generation.warnings:
        response.headers["X-Warnings"] = json.dumps(generation.warnings)
    return response
