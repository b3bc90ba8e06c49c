"""Talk: a call's logic as a generator, which says what to ask and how long to pause.

Who runs it does the waiting: `blocking.py` on a thread, `asynchronous.py` in an event loop. So
there is one logic for both, and no input or output in it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from imagegen.errors import ServiceUnreachable

QUICK_S = 60.0  # of silence, where nothing is rendered
T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """One HTTP request. A talk that yields it is sent the Answer, or thrown ServiceUnreachable."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a key
    body: bytes | None = field(default=None, repr=False)
    timeout_s: float = QUICK_S  # of silence
    streams: bool = False  # whether the connection is kept, for events to be read from it


@dataclass(frozen=True)
class Answer:
    """What came back, whatever its status. `headers` have small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str


@dataclass(frozen=True)
class Pause:
    """Nothing happens for so long."""

    seconds: float


Step: TypeAlias = Ask | Pause
Talk: TypeAlias = Generator[Step, Any, T]


class Conversation(Generic[T]):
    """A talk under way: `step` is what it waits for now, None once there is a `result`."""

    result: T

    def __init__(self, talk: Talk[T]) -> None:
        self._talk = talk
        self.step: Step | None = None
        self._advance(partial(next, talk))

    def hear(self, answer: Answer | None = None) -> None:
        """Tells it the answer, or that its pause is over. Raises what the talk raises."""
        self._advance(partial(self._talk.send, answer))

    def fail(self, error: ServiceUnreachable) -> None:
        """Tells it that no answer came."""
        self._advance(partial(self._talk.throw, error))

    def _advance(self, on: Callable[[], Step]) -> None:
        try:
            self.step = on()
        except StopIteration as end:
            self.step, self.result = None, end.value
