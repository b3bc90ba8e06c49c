"""Create: the page on which pictures are asked for. The form behind it works without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from imagegen.errors import BodyTooLarge, ImagegenError
from imagegen.parsing import parse_strings
from imagegen.presets import PresetCatalog
from imagegen.web.auth import current_caller
from imagegen.web.caller import still_there
from imagegen.web.collaborators import Collaborators, Engine, GenerationDesk, PictureService
from imagegen.web.errors import tell_failure
from imagegen.web.studio.shell import current_texts, register_preferences
from imagegen.web.studio.views import FIELDS, ResultView, StateView, StudioView, Told, aspect


def studio_blueprint(parts: Collaborators) -> Blueprint:
    """The page, the form that it sends, and what its script asks for."""
    blueprint = Blueprint("studio", __name__)
    blueprint.add_app_template_global(aspect)
    register_preferences(blueprint)
    studio = _Studio(parts.service, parts.generations, parts.catalog, parts.engine)

    @blueprint.get("/")
    def page() -> ResponseReturnValue:
        """The page; fields that the address names are filled in, so a form can be a link."""
        return studio.page({name: text for name, text in request.args.items() if name in FIELDS})

    @blueprint.post("/")
    def submit() -> ResponseReturnValue:
        """The form of a browser without scripts: the page again, with its result or its faults."""
        said: dict[str, str] = {}
        try:
            said = _form()
            return studio.page(said, result=studio.generate(said))
        except ImagegenError as error:
            answer = tell_failure(error)  # its status and its Retry-After
            answer.set_data(studio.page(said, error=error))
            answer.mimetype = "text/html"
            return answer

    @blueprint.post("/studio/results")
    def results() -> ResponseReturnValue:
        """The same for the page's script: the result alone, or a problem like the API's."""
        return render_template("_result.html", result=studio.generate(_form()))

    @blueprint.get("/studio/state")
    def state() -> ResponseReturnValue:
        """What /readyz says, in a sentence; always 200, as browsers report other answers."""
        return jsonify(studio.state())

    return blueprint


@dataclass(frozen=True)
class _Studio:
    """What the routes do, with the parts they do it with."""

    service: PictureService
    generations: GenerationDesk
    catalog: PresetCatalog
    engine: Engine

    @property
    def brands(self) -> PresetCatalog:
        """Those that exist for whoever asks."""
        return self.catalog.seen_by(current_caller())

    def page(
        self,
        said: Mapping[str, str],
        *,
        error: ImagegenError | None = None,
        result: ResultView | None = None,
    ) -> str:
        if len(self.brands) == 0:
            return render_template("notice.html", notice="notice.no_brands")
        return render_template(
            "create.html",
            view=StudioView.of(self.brands, self.engine.status().model, said),
            said=said,
            told=Told.of(error, current_texts()),
            result=result,
            state=self.state(),
        )

    def generate(self, said: Mapping[str, str]) -> ResultView:
        asked = parse_strings(said)
        started = self.generations.start(asked, current_caller())
        generation = started.result(still_there(request))
        return ResultView(generation, asked.prompt, self.brands.get(asked.brand).name, said)

    def state(self) -> StateView:
        return StateView.of(
            self.engine.status(), current_texts(), draining=self.service.door.closed
        )


def _form() -> dict[str, str]:
    """What the form says; an empty field says nothing, but the prompt is then missed.

    Raises BodyTooLarge.
    """
    try:
        return {k: v for k, v in request.form.items() if v.strip() or k == "prompt"}
    except RequestEntityTooLarge:
        raise BodyTooLarge("that is too much text; shorten what you wrote") from None
