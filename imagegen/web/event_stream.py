"""EventStream: a generation's events as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from typing import Any

from flask import Response
from pydantic import BaseModel

from imagegen.engine.process import Progress
from imagegen.errors import ImagegenError, TooManyStreams
from imagegen.generation import Generation
from imagegen.generations.events import Event, Look, Queued, Stored, What
from imagegen.generations.running import Following
from imagegen.web.answers import ImageData, PreviewData, QueuedData, StepData
from imagegen.web.errors import problem_of
from imagegen.web.links import with_absolute_link, with_absolute_links
from imagegen.web.negotiation import EVENT_STREAM

HEARTBEAT_S = 10.0  # of silence, after which a comment tells proxies that the line is alive
_LOOK_S = 0.2  # how often it is looked whether anybody still listens
_ASK_AGAIN_S = 5.0


class Streams:
    """How many listeners there are beside those whose own request it is."""

    def __init__(self, most: int) -> None:
        self._places = threading.Semaphore(most)

    def take(self) -> None:
        """Raises TooManyStreams."""
        if not self._places.acquire(blocking=False):
            raise TooManyStreams(
                "as many follow events as this instance has room for; ask for the record instead",
                _ASK_AGAIN_S,
            )

    def leave(self) -> None:
        self._places.release()


def event_stream(
    followed: Following,
    *,
    after: int,
    goes_on: Callable[[], bool],
    left: Callable[[], None],
    root: str,
) -> Response:
    """The events past number `after`, up to the last one.

    goes_on: asked several times a second; once it says no the stream ends, and a browser connects
    anew. left: called once, whatever ended it. root: what the caller calls this service.
    """
    response = Response(
        _Messages(followed, after, goes_on, left, root),
        content_type=f"{EVENT_STREAM}; charset=utf-8",
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would wait for more
    return response


class _Messages:
    """An iterator with a `close`, which is called also where nobody began to read."""

    def __init__(
        self,
        followed: Following,
        after: int,
        goes_on: Callable[[], bool],
        left: Callable[[], None],
        root: str,
    ) -> None:
        self._messages = _messages(followed, after, goes_on, root)
        self._left: Callable[[], None] | None = left

    def __iter__(self) -> Iterator[bytes]:
        return self._messages

    def close(self) -> None:
        self._messages.close()
        left, self._left = self._left, None
        if left is not None:
            left()


def _messages(
    followed: Following, after: int, goes_on: Callable[[], bool], root: str
) -> Generator[bytes, None, None]:
    told_at = time.monotonic()
    yield b"retry: 1000\n\n"
    while goes_on():
        try:
            events = followed.heard(after, _LOOK_S)
        except ImagegenError:
            return  # it goes on elsewhere, or Storage is out of reach: not the generation's end
        for event in events:
            yield message(event, root)
            after = event.number
            if event.is_last:
                return
        if events:
            told_at = time.monotonic()
        elif time.monotonic() - told_at > HEARTBEAT_S:
            told_at = time.monotonic()
            yield b": still here\n\n"


def message(event: Event, root: str) -> bytes:
    """One event on the wire."""
    said = _data(event.what, root)
    text = json.dumps(said) if isinstance(said, dict) else said.model_dump_json()
    return f"id: {event.number}\nevent: {event.kind}\ndata: {text}\n\n".encode()


def _data(what: What, root: str) -> BaseModel | dict[str, Any]:
    match what:
        case Queued(generation_id, position):
            return QueuedData(id=generation_id, queue_position=position)
        case Progress():
            return StepData(**asdict(what))
        case Look(index):
            return PreviewData(index=index, image=base64.b64encode(what.jpeg).decode())
        case Stored(index, image):
            return ImageData(index=index, **with_absolute_link(image, root).model_dump())
        case Generation():
            return with_absolute_links(what, root)
    return problem_of(what)
