"""Everything the two processes say to each other, pickled over one connection.

    parent ──► Start once, then Render and Drop
    child  ──► Entered…, then Ready or LoadFailed
               Heartbeat before each call of the renderer; after the step Stepped, and Previewed
               for those who want to look
               Done, Failed or Dropped: each Render is answered by exactly one of them
               Poisoned: the last word of a child that will not go on

Texts instead of exceptions cross the border: what cannot be unpickled cannot be reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imagegen.engine.renderer import Picture
from imagegen.generation import ModelInfo, RenderSpec
from imagegen.logs import LogStyle
from imagegen.tracing import Trace


@dataclass(frozen=True)
class Start:
    """`make_renderer` stays pickled, with its slow imports, until the child watches the parent."""

    make_renderer: bytes = field(repr=False)
    max_rows: int | None  # the operator's bound on what the renderer measures
    logs: LogStyle | None = None  # how the child writes its lines; Python's own way without


@dataclass(frozen=True)
class Render:
    """Render this spec; `number` names the picture in all that follows."""

    number: int
    spec: RenderSpec
    share: int  # pictures of one share take turns with those of others
    deadline_at: float  # to order by: the earlier, the more urgent
    previews: bool  # whether anybody looks at it on its way
    trace: Trace | None = None  # for the log; nothing else looks into it


@dataclass(frozen=True)
class Drop:
    """The picture has left: cancelled or expired."""

    number: int


ToChild = Render | Drop


@dataclass(frozen=True)
class Entered:
    """A stretch of loading begins."""

    phase: str


@dataclass(frozen=True)
class Ready:
    """Loaded; from now on Render is welcome."""

    model: ModelInfo


@dataclass(frozen=True)
class LoadFailed:
    """The last word of a child whose renderer did not load; the traceback is for the log."""

    text: str
    final: bool  # the operator's mistake: another try would end the same
    traceback: str


@dataclass(frozen=True)
class Heartbeat:
    """One call of the renderer is about to begin; if nothing follows, these are suspects."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Move:
    """A picture has moved one step on."""

    number: int
    step: int  # steps done
    of: int


@dataclass(frozen=True)
class Stepped:
    """The step of one turn: who moved, and what it took."""

    moves: tuple[Move, ...]
    rows: int
    pixels: int  # of each picture: they share a shape
    seconds: float


@dataclass(frozen=True)
class Previewed:
    """A small look at a picture on its way."""

    number: int
    picture: Picture


@dataclass(frozen=True)
class Done:
    """The picture: 8-bit RGB rows, and what it took."""

    number: int
    pixels: bytes = field(repr=False)
    warnings: tuple[str, ...]
    render_s: float
    gpu_s: float


@dataclass(frozen=True)
class Failed:
    """One picture's own failure."""

    number: int
    text: str
    gpu_s: float


@dataclass(frozen=True)
class Dropped:
    """The answer to Drop: its rows are free."""

    number: int
    gpu_s: float


@dataclass(frozen=True)
class Poisoned:
    """The renderer raised what it must not in its last call; the traceback is for the log."""

    text: str
    traceback: str


FromChild = (
    Entered | Ready | LoadFailed | Heartbeat | Stepped | Previewed
    | Done | Failed | Dropped | Poisoned
)  # fmt: skip
