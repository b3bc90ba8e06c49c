"""EventLog: what happened to a generation so far, numbered, for whoever follows it."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass

from PIL import Image

from imagegen.engine.process import Preview, Progress
from imagegen.generation import GeneratedImage, Generation

NUMBERS_PER_TERM = 100_000  # numbers go on where another instance takes over
_PREVIEW_QUALITY = 80


@dataclass(frozen=True)
class Queued:
    """There is a place for it."""

    generation_id: str
    position: int  # pictures before it


@dataclass(frozen=True)
class Stored:
    """Picture `index` is there; its file too, where this instance has it in memory."""

    index: int
    image: GeneratedImage


What = Queued | Progress | Preview | Stored | Generation | Exception
_KINDS: dict[type, str] = {
    Queued: "queued", Progress: "step", Preview: "preview", Stored: "image", Generation: "done"
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something happened. Numbers grow, but not all of them are there."""

    number: int
    what: What

    @property
    def kind(self) -> str:
        """queued, step, preview, image, and as the last one done or error."""
        return _KINDS.get(type(self.what), "error")

    @property
    def is_last(self) -> bool:
        return self.kind in ("done", "error")


class EventLog:
    """Written by the engine's and the generation's threads, read by any number of others.

    Of previews only the newest of each picture is kept, so that it stays small: at most a step
    for each of a request's steps, and a handful more.
    """

    def __init__(self, term: int = 0) -> None:
        """term: how many instances have had it before."""
        self._condition = threading.Condition()
        self._first = self._last = term * NUMBERS_PER_TERM + 1
        self._events: list[Event] = []
        self._is_open = False

    def open(self, queued: Queued) -> None:
        """There is a place for it. Until then nobody hears a thing, though steps may be made."""
        with self._condition:
            self._events.insert(0, Event(self._first, queued))
            self._is_open = True
            self._condition.notify_all()

    def add(self, what: What) -> None:
        """After the last event nothing follows."""
        with self._condition:
            if self._events and self._events[-1].is_last:
                return
            if isinstance(what, Preview):
                self._events = [one for one in self._events if not _same_preview(one.what, what)]
            self._last += 1
            self._events.append(Event(self._last, what))
            self._condition.notify_all()

    def after(self, number: int, timeout_s: float) -> list[Event]:
        """Those past `number`; waits for one for up to `timeout_s`."""
        until = time.monotonic() + timeout_s
        with self._condition:
            while True:
                found = [event for event in self._events if event.number > number]
                left_s = until - time.monotonic()
                if (found and self._is_open) or left_s <= 0:
                    return found if self._is_open else []
                self._condition.wait(left_s)


def jpeg_of(preview: Preview) -> bytes:
    """A small picture of how it looks so far."""
    picture, file = preview.picture, io.BytesIO()
    pixels = Image.frombytes("RGB", (picture.width, picture.height), picture.pixels)
    pixels.save(file, "JPEG", quality=_PREVIEW_QUALITY)
    return file.getvalue()


def _same_preview(one: What, other: Preview) -> bool:
    return isinstance(one, Preview) and one.index == other.index
