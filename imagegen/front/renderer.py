"""RemoteRenderer: what is known of a renderer elsewhere, without ever waking it to find out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagegen.engine.process import EngineStatus
from imagegen.engine.supervision import DRAINING, FAILED, READY
from imagegen.errors import ServiceUnreachable
from imagegen.front.line import Answer, Call, Line
from imagegen.generation import ModelInfo

ASLEEP, WAKING, UNREACHABLE = "asleep", "waking up", "unreachable"
WARM_EVERY_S = 10.0  # one wake-up at most in so many seconds, whoever types
KEEP_EVERY_S = 30.0
_AWAKE_S = 600.0  # Cloud Run stops an idle instance with a GPU after 10 minutes, not before
_WARM_S = 300.0  # after which a wake-up that nobody waits for is given up
_LOOK_S = 1.0
_LOOK_ANSWER_S = 10.0  # of a renderer that has just said that it is ready
_ANSWER_S = 330.0  # Cloud Run holds a request until an instance has started
_LAST_WORDS = (READY, FAILED, UNREACHABLE)  # after which waking goes on no more
_SEND_S = 3.0  # without a request to answer, Cloud Run may give this instance no processor


class _Said(BaseModel):
    """The body of the renderer's /readyz."""

    model_config = ConfigDict(frozen=True)

    phase: str
    eta_s: float | None = None
    queued: int = 0
    running: int = 0
    error: str | None = None
    start_s: Mapping[str, float] = Field(default_factory=dict)


class _Capabilities(BaseModel):
    """Of the body of its /capabilities, what pages need."""

    model: ModelInfo | None


_WAKING_UP = _Said(phase=WAKING)


@dataclass
class _Known:
    """What the renderer last said; `lock` of RemoteRenderer guards it."""

    said: _Said = _WAKING_UP
    model: ModelInfo | None = None
    awake_until_s: float = 0.0  # by the monotonic clock
    waiting: int = 0  # requests
    warm_until_s: float = 0.0
    next_warm_s: float = 0.0
    calling: bool = False
    next_call_s: float = 0.0
    looking: bool = False  # a thread asks the renderer every _LOOK_S
    stopped: bool = False


class RemoteRenderer:
    """Asks the renderer only while somebody waits for it or has begun to type."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._known = _Known()
        self._lock = threading.Lock()

    def status(self) -> EngineStatus:
        """What was last heard. `ready`: a request would be taken, a sleeper woken for it."""
        with self._lock:
            known = self._known
            said = self._current()
            return EngineStatus(
                phase=DRAINING if known.stopped else said.phase,
                ready=not known.stopped,
                model=known.model,
                queued=said.queued,
                running=said.running,
                eta_s=said.eta_s,
                error=said.error,
                deaths=0,
                hopeless=False,
                abandoned_gpu_s=0.0,
                start_s=said.start_s,
            )

    def warm(self) -> None:
        """Wakes the renderer, unless it is awake, being woken, or was called a moment ago."""
        now = time.monotonic()
        with self._lock:
            known = self._known
            if known.looking or now < max(known.next_warm_s, known.awake_until_s):
                return
            known.next_warm_s = now + WARM_EVERY_S
            known.warm_until_s = now + _WARM_S
            look = self._begin_looking()
        if look is not None:
            look.sent.wait(_SEND_S)

    def call(self) -> None:
        """There is something to do that is no request: it wakes, or, awake already, looks."""
        with self._lock:
            if self._known.stopped:
                return
            self._known.calling = True
            self._known.next_call_s = time.monotonic() + KEEP_EVERY_S
        call = Call(self._line, "/warm", answer_s=_ANSWER_S, method="POST")
        call.start().add_done_callback(self._called)
        call.sent.wait(_SEND_S)

    def keep(self) -> None:
        """The same, but for those who say so again and again: an idle one would be ended."""
        with self._lock:
            if self._known.calling or time.monotonic() < self._known.next_call_s:
                return
        self.call()

    def _called(self, _: Future[Answer]) -> None:
        with self._lock:
            self._known.calling = False

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """While somebody waits for a picture, the renderer is asked how far it is."""
        with self._lock:
            self._known.waiting += 1
            self._begin_looking()
        try:
            yield
        finally:
            with self._lock:
                self._known.waiting -= 1

    def answered(self) -> None:
        """A picture came from it: it is awake, and may now be asked what it is."""
        with self._lock:
            self._known.awake_until_s = time.monotonic() + _AWAKE_S
            if self._known.model is None:
                self._begin_looking()

    def stop(self) -> None:
        with self._lock:
            self._known.stopped = True

    def _current(self) -> _Said:
        if self._known.looking:
            return self._known.said
        return _Said(phase=READY if self._is_awake() else ASLEEP)

    def _is_awake(self) -> bool:
        return time.monotonic() < self._known.awake_until_s

    def _begin_looking(self) -> Call | None:
        """The first look, on a thread; None where there is one already. Called with the lock."""
        if self._known.looking or self._known.stopped:
            return None
        self._known.looking = True
        self._known.said = _Said(phase=READY) if self._is_awake() else _WAKING_UP
        look = self._look()
        threading.Thread(target=self._keep_looking, args=(look,), name="look", daemon=True).start()
        return look

    def _look(self) -> Call:
        return Call(self._line, "/readyz", answer_s=_ANSWER_S)

    def _keep_looking(self, look: Call) -> None:
        model = None  # asked anew with each awakening: a new version may have another one
        try:
            while True:
                said = _readiness(look)
                if said.phase == READY and model is None:
                    model = _model(Call(self._line, "/capabilities", answer_s=_LOOK_ANSWER_S))
                if not self._hear(said, model):
                    return
                time.sleep(_LOOK_S)
                look = self._look()
        except BaseException:
            with self._lock:
                self._known.looking = False
            raise

    def _hear(self, said: _Said, model: ModelInfo | None) -> bool:
        """Keeps what was said; whether another look is to follow."""
        now = time.monotonic()
        with self._lock:
            known = self._known
            known.said = said
            known.model = model or known.model
            if said.phase in (READY, UNREACHABLE):
                known.awake_until_s = now + _AWAKE_S if said.phase == READY else 0.0
            warming = said.phase not in _LAST_WORDS and now < known.warm_until_s
            # Said under the lock: whoever begins to wait from now on begins to look too.
            known.looking = (known.waiting > 0 or warming) and not known.stopped
            return known.looking


def _readiness(look: Call) -> _Said:
    try:
        return _Said.model_validate_json(look.run().body)
    except (ServiceUnreachable, ValidationError):
        return _Said(phase=UNREACHABLE)


def _model(question: Call) -> ModelInfo | None:
    try:
        return _Capabilities.model_validate_json(question.run().body).model
    except (ServiceUnreachable, ValidationError):
        return None
