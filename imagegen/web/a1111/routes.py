"""The routes that AUTOMATIC1111's clients call, below /sdapi/v1."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from imagegen.errors import Cancelled
from imagegen.generation import GenerationRequest
from imagegen.parsing import read_json, read_strings
from imagegen.presets import PresetCatalog
from imagegen.web.a1111.bodies import (
    Img2ImgBody,
    OptionsBody,
    PngInfoBody,
    ProgressQuery,
    Txt2ImgBody,
)
from imagegen.web.a1111.canvas import with_pictures
from imagegen.web.a1111.infotext import parse_infotext
from imagegen.web.a1111.lists import (
    FIXED,
    model_items,
    option_values,
    refuse_other_options,
    sampler_items,
    schedule_items,
    style_items,
)
from imagegen.web.a1111.png_info import read_texts
from imagegen.web.a1111.translation import in_their_words, to_answer, to_request
from imagegen.web.a1111.work import Work, Works, progress_answer
from imagegen.web.auth import current_caller
from imagegen.web.caller import is_retry, still_there
from imagegen.web.collaborators import Collaborators
from imagegen.web.negotiation import json_body, picture_body
from imagegen.web.picture_room import picture_room


def a1111_blueprint(parts: Collaborators) -> Blueprint:
    """Pictures, and what may be asked for, as AUTOMATIC1111's clients ask."""
    a1111 = Blueprint("a1111", __name__, url_prefix="/sdapi/v1")

    works = Works()

    def requested(asked: Txt2ImgBody) -> GenerationRequest:
        brands = parts.catalog.seen_by(current_caller())
        return to_request(asked, brands, parts.engine.status().model)

    @a1111.post("/txt2img")
    def txt2img() -> Response:
        asked = read_json(Txt2ImgBody, json_body(request))
        return _answer(parts, works, asked, requested(asked))

    @a1111.post("/img2img")
    def img2img() -> Response:
        room = picture_room()
        with room.reading(request):
            asked = read_json(Img2ImgBody, picture_body(request))
        sent = [*(asked.init_images or []), asked.mask]
        room.hold(*sent)
        wanted = requested(asked)
        with room.decoding:
            wanted = with_pictures(wanted, asked)
        made = (wanted.init_image, wanted.mask)
        room.hold(*(picture for picture in made if not any(picture is one for one in sent)))
        return _answer(parts, works, asked, wanted)

    @a1111.post("/png-info")
    def png_info() -> Response:
        room = picture_room()
        with room.reading(request):
            asked = read_json(PngInfoBody, picture_body(request))
        with room.decoding:
            texts = read_texts(asked.image.data)
        found = parse_infotext(texts.parameters)
        return jsonify(info=texts.parameters, items=texts.items, parameters=found)

    @a1111.get("/progress")
    def progress() -> Response:
        asked = read_strings(ProgressQuery, request.args.to_dict())
        his = works.of(current_caller())
        return jsonify(progress_answer(his, with_picture=not asked.skip_current_image))

    @a1111.post("/interrupt")
    def interrupt() -> Response:
        for work in works.of(current_caller()):
            work.interrupted = True
        return jsonify({})

    _register_lists(a1111, parts)
    return a1111


def _register_lists(a1111: Blueprint, parts: Collaborators) -> None:
    def brands() -> PresetCatalog:
        return parts.catalog.seen_by(current_caller())

    def samplers() -> Response:
        model = parts.engine.status().model
        return jsonify(sampler_items(None if model is None else model.schedulers))

    def set_options() -> Response:
        said = read_json(OptionsBody, json_body(request)).model_extra or {}
        refuse_other_options(said, brands())
        return jsonify(None)

    for name, items in FIXED.items():
        a1111.add_url_rule(f"/{name}", name, lambda items=items: jsonify(items))
    a1111.add_url_rule("/samplers", "samplers", samplers)
    a1111.add_url_rule("/schedulers", "schedulers", lambda: jsonify(schedule_items()))
    a1111.add_url_rule("/sd-models", "models", lambda: jsonify(model_items(brands())))
    a1111.add_url_rule("/prompt-styles", "styles", lambda: jsonify(style_items(brands())))
    a1111.add_url_rule("/options", "options", lambda: jsonify(option_values(brands())))
    a1111.post("/options")(set_options)
    for name in ("refresh-checkpoints", "refresh-loras"):  # what is listed is what there is
        a1111.add_url_rule(f"/{name}", name, lambda: jsonify(None), methods=["POST"])


def _answer(
    parts: Collaborators, works: Works, asked: Txt2ImgBody, wanted: GenerationRequest
) -> Response:
    """Renders, to be followed and interrupted meanwhile by whoever asked."""
    caller, there = current_caller(), still_there(request)
    job = "txt2img" if wanted.init_image is None else "img2img"
    with works.entered(caller, Work(job, wanted.num_images)) as work, in_their_words():
        started = parts.generations.start(wanted, caller, previews=True, is_retry=is_retry(request))
        work.follow(started)
        try:
            generation = started.result(lambda: not work.interrupted and there())
        except Cancelled:
            if work.interrupted:
                raise Cancelled("interrupted: no picture is sent") from None
            raise
        files = started.files()
    return jsonify(to_answer(asked, generation, files))
