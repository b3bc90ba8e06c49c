"""Create: the page on which pictures are asked for. The form behind it works without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from imagegen.edits import DEFAULT_STRENGTH
from imagegen.errors import ImagegenError, UnknownGeneration
from imagegen.generations.records import GenerationRecord
from imagegen.library import Library
from imagegen.presets import PresetCatalog
from imagegen.web.auth import current_caller
from imagegen.web.caller import still_there
from imagegen.web.collaborators import Collaborators, Engine, GenerationDesk, PictureService
from imagegen.web.errors import tell_failure
from imagegen.web.negotiation import idempotency_key
from imagegen.web.studio.asking import asked_of, form_fields, start_of
from imagegen.web.studio.reading import register_reading
from imagegen.web.studio.results import ResultView
from imagegen.web.studio.selection import register_selection
from imagegen.web.studio.shell import current_texts, register_preferences
from imagegen.web.studio.told import Told, warning_in_words
from imagegen.web.studio.views import FORM_FIELDS, StateView, StudioView, aspect

_MOST_SHOWN = 24  # of the generations that a page remembers


def studio_blueprint(parts: Collaborators) -> Blueprint:
    """The page, the form that it sends, and what its scripts ask for."""
    blueprint = Blueprint("studio", __name__)
    blueprint.add_app_template_global(aspect)
    blueprint.add_app_template_filter(warning_in_words, "warning_in_words")
    register_preferences(blueprint)
    register_reading(blueprint, parts)
    register_selection(blueprint, parts)
    studio = _Studio(parts.service, parts.generations, parts.library, parts.catalog, parts.engine)

    @blueprint.get("/")
    def page() -> ResponseReturnValue:
        """The page; fields that the address names are filled in, so a form can be a link."""
        return studio.page(
            {name: text for name, text in request.args.items() if name in FORM_FIELDS}
        )

    @blueprint.post("/")
    def submit() -> ResponseReturnValue:
        """The form of a browser without scripts: the page again, with its result or its faults."""
        said: dict[str, str] = {}
        try:
            said = form_fields()
            return studio.page(said, result=studio.generate(said))
        except ImagegenError as error:
            answer = tell_failure(error)  # its status and its Retry-After
            answer.set_data(studio.page(said, error=error))
            answer.mimetype = "text/html"
            return answer

    @blueprint.post("/studio/generations")
    def start() -> ResponseReturnValue:
        """The same for the page's script: as soon as there is a place for it, what is known then.

        Under an Idempotency-Key, as who is cut off here asks again.
        """
        result = studio.start(form_fields(), idempotency_key(request))
        return render_template("_generation.html", result=result), HTTPStatus.ACCEPTED

    @blueprint.get("/studio/generations")
    def generations() -> ResponseReturnValue:
        """Those that `id` names, as they are now; what is not there is passed over."""
        wanted = request.args.getlist("id")[:_MOST_SHOWN]
        results = studio.results(wanted)
        return "\n".join(render_template("_generation.html", result=one) for one in results)

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
    library: Library
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
            start=start_of(said),
            strength=DEFAULT_STRENGTH,
            result=result,
            state=self.state(),
        )

    def generate(self, said: Mapping[str, str]) -> ResultView:
        """Waits for the pictures."""
        started = self.generations.start(
            asked_of(said, self.generations, current_caller()), current_caller()
        )
        started.result(still_there(request))
        return self.result(self.generations.record(started.id, current_caller()))

    def start(self, said: Mapping[str, str], key: str | None) -> ResultView:
        """Waits for a place in the queue."""
        asked = asked_of(said, self.generations, current_caller())
        started = self.generations.start(asked, current_caller(), key=key, lives_on=True)
        return self.result(self.generations.record(started.id, current_caller()))

    def results(self, ids: list[str]) -> list[ResultView]:
        found = []
        for one in ids:
            try:
                found.append(self.result(self.generations.record(one, current_caller())))
            except UnknownGeneration:
                continue
        return found

    def result(self, record: GenerationRecord) -> ResultView:
        position = self.generations.position(record.id) if record.is_open else None
        marks = self.library.marks(record.id, current_caller()).images if record.images else ()
        return ResultView(
            record, self.brands, self.engine.status().model, current_texts(), position, marks
        )

    def state(self) -> StateView:
        return StateView.of(
            self.engine.status(), current_texts(), draining=self.service.door.closed
        )
