"""What the studio's templates draw: brands, formats, results, faults, the model's state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagegen.engine.process import EngineStatus
from imagegen.engine.renderer import PHASES
from imagegen.engine.supervision import READY
from imagegen.front.renderer import ASLEEP, UNREACHABLE, WAKING
from imagegen.generation import GenerationRequest, ModelInfo, OutputFormat, Scheduler
from imagegen.presets import BrandPreset, PresetCatalog
from imagegen.presets.formats import built_in_formats
from imagegen.presets.view import BrandView
from imagegen.web.studio.texts import Texts

# for programs; here a format says the size
_NOT_HERE = ("width", "height", "deadline_s", "overlay", "score")
FIELDS = tuple(name for name in GenerationRequest.model_fields if name not in _NOT_HERE)
BESIDE = (*FIELDS, "headline", "legal")  # have a place for what is wrong with them
# Three make `overlay`, two say which picture to start from, and whether it gives the shape.
FORM_FIELDS = (*FIELDS, "logo", "headline", "legal", "from", "shape")
ADVANCED = (
    "negative_prompt", "num_inference_steps", "guidance_scale", "scheduler", "adapter_scale",
    "output_format", "output_quality", "campaign", "exact",
)  # fmt: skip
_ICON_PX = 22  # the longer side of a format's little rectangle
_ELSEWHERE = {WAKING: "state.waking", UNREACHABLE: "state.unreachable"}
GUESSED_PX = 512  # proportions are all that is shown of it


@dataclass(frozen=True)
class Shape:
    """A format as the form offers it: a little rectangle of its proportions."""

    value: str  # the request's `format`; "" is the brand's own size
    width: int
    height: int
    known: bool  # sizes of built-in formats are guesses until a model is loaded

    @property
    def label(self) -> str:
        """ "" for the brand's own size."""
        return self.value.replace("-", " ").replace("_", " ").capitalize()

    @property
    def icon(self) -> tuple[float, float]:
        """Width and height of the rectangle; thin ones are as thick as can be seen."""
        scale = _ICON_PX / max(self.width, self.height)
        return max(4.0, round(self.width * scale, 1)), max(4.0, round(self.height * scale, 1))

    @property
    def aspect(self) -> str:
        return aspect(self.width, self.height)


@dataclass(frozen=True)
class BrandChoice:
    """A brand as the form offers it."""

    view: BrandView
    shapes: tuple[Shape, ...]
    format: str  # the chosen shape's value

    @classmethod
    def of(cls, preset: BrandPreset, model: ModelInfo | None, wish: str | None) -> BrandChoice:
        view = preset.to_public(model)
        sizes = {name: (size.width, size.height) for name, size in view.formats.items()}
        known = set(sizes)
        if model is None:
            sizes = built_in_formats(GUESSED_PX) | sizes
        default = view.defaults.format
        if default is None and view.defaults.width and view.defaults.height:
            sizes = {"": (view.defaults.width, view.defaults.height)} | sizes
            known.add("")
        shapes = tuple(Shape(name, *size, name in known) for name, size in sizes.items())
        return cls(view, shapes, wish if wish is not None and wish in sizes else default or "")

    @property
    def defaults(self) -> str:
        """JSON: what the advanced fields stand for while they are empty."""
        names = {
            "format", "num_inference_steps", "guidance_scale", "adapter_scale", "scheduler",
        }  # fmt: skip
        return json.dumps(self.view.defaults.model_dump(mode="json", include=names))


@dataclass(frozen=True)
class StudioView:
    """The form: what may be chosen."""

    brands: tuple[BrandChoice, ...]
    chosen: BrandChoice
    schedulers: tuple[str, ...]
    output_formats: tuple[str, ...]
    limits: Mapping[str, Mapping[str, float]]  # of each number: "min" and "max"

    @classmethod
    def of(
        cls, catalog: PresetCatalog, model: ModelInfo | None, said: Mapping[str, str]
    ) -> StudioView:
        """`said`: the fields as they were filled in."""
        brands = tuple(BrandChoice.of(preset, model, said.get("format")) for preset in catalog)
        chosen = (one for one in brands if one.view.id == said.get("brand"))
        schedulers = tuple(Scheduler) if model is None else model.schedulers
        return cls(brands, next(chosen, brands[0]), schedulers, tuple(OutputFormat), _limits())


@dataclass(frozen=True)
class PhaseView:
    """One stretch of a start."""

    name: str
    status: Literal["done", "now", "next"]
    seconds: str  # "" before it begins


@dataclass(frozen=True)
class StateView:
    """Whether pictures can be made now, and if not, why, and how far the start is."""

    ready: bool  # or asleep: nothing to wait for before somebody asks
    sentence: str  # "" when ready
    queued: int  # pictures
    phases: tuple[PhaseView, ...] = ()  # while a model loads
    left: str = ""  # how long it will be, if earlier starts tell

    @classmethod
    def of(cls, status: EngineStatus, t: Texts, *, draining: bool) -> StateView:
        if draining:
            return cls(False, t("state.draining"), 0)
        if status.phase == READY:
            return cls(True, "", status.queued)
        if status.phase == ASLEEP:
            return cls(True, t("state.asleep"), 0)
        if status.error is not None:
            return cls(False, t("state.unusable", error=status.error), status.queued)
        if status.phase in _ELSEWHERE:
            return cls(False, t(_ELSEWHERE[status.phase]), status.queued)
        left = "" if status.eta_s is None else t("state.left", seconds=math.ceil(status.eta_s))
        what = "state.waking_phase" if status.ready else "state.loading"
        sentence = t(what, phase=_phase(status.phase, t))
        return cls(False, sentence, status.queued, _phases(status, t), left)


def _phases(status: EngineStatus, t: Texts) -> tuple[PhaseView, ...]:
    if status.phase not in PHASES:
        return ()
    now = PHASES.index(status.phase)
    return tuple(
        PhaseView(
            _phase(phase, t),
            "done" if index < now else "now" if index == now else "next",
            t("state.seconds", seconds=f"{status.start_s.get(phase, 0.0):.1f}")
            if index <= now
            else "",
        )
        for index, phase in enumerate(PHASES)
    )


def _phase(name: str, t: Texts) -> str:
    return t(f"state.phase.{name}") if name in PHASES else name


def aspect(width: int, height: int) -> str:
    """The stylesheet's name for pictures of about these proportions."""
    ratio = width / height
    if ratio < 0.67:
        return "tall"
    if ratio < 0.95:
        return "upright"
    return "square" if ratio <= 1.05 else "wide"


def _limits() -> dict[str, dict[str, Any]]:
    """The bounds of GenerationRequest, in the words of an HTML input."""
    words = {"ge": "min", "le": "max"}
    return {
        name: {
            html: getattr(bound, ours)
            for bound in field.metadata
            for ours, html in words.items()
            if hasattr(bound, ours)
        }
        for name, field in GenerationRequest.model_fields.items()
    }
