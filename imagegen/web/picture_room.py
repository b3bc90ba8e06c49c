"""PictureRoom: bodies with pictures are large; only so many bytes of them are held at a time."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, Request, current_app

from imagegen.edits import SentPicture
from imagegen.errors import QueueFull

MAX_BODY_BYTES = 64 * 1024  # of what is no picture
MAX_PICTURE_BYTES = 20 << 20  # of a body's pictures, as they are sent
MOST_BYTES_HELD = 160 << 20  # by all requests together, while they arrive and while they wait
_DECODERS = 2  # pictures made ready at a time: each may take hundreds of megabytes meanwhile
_COPIES = 3  # of a body there are while it is read: what has arrived, as text, decoded
_PATIENCE_S = 5.0  # for others to be read
_LOOK_S = 0.05
_ASK_AGAIN_S = 5.0
_EXTENSION = "imagegen.picture_room"


class PictureRoom:
    """Room for bodies while they are read, and for pictures as long as anybody holds them."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()  # guards the next one
        self._taken_bytes = 0
        self.decoding = threading.Semaphore(_DECODERS)  # for a dialect that looks at pixels
        self._returned: deque[int] = deque()

    @property
    def held_bytes(self) -> int:
        return self._taken_bytes - sum(self._returned)

    @contextmanager
    def reading(self, request: Request) -> Iterator[None]:
        """The request's body may be read, pictures and all. Waits a little for room.

        Raises QueueFull, once the body has been discarded: who still sends would not hear of it.
        """
        longest = MAX_PICTURE_BYTES + MAX_BODY_BYTES
        request.max_content_length = longest + 1  # as json_body has it
        said = longest if request.content_length is None else min(request.content_length, longest)
        size_bytes = _COPIES * said if said > MAX_BODY_BYTES else 0  # others need no room
        try:
            self._wait_for(size_bytes)
        except QueueFull:
            while request.stream.read(MAX_BODY_BYTES):
                pass
            raise
        try:
            yield
        finally:
            self._give_back(size_bytes)

    def hold(self, *pictures: SentPicture | None) -> None:
        """Counts them until they are gone: a generation may outlive its request.

        Raises QueueFull; what has been counted then goes with its picture.
        """
        for picture in pictures:
            if picture is not None:
                size_bytes = len(picture.data)
                self._take(size_bytes)
                weakref.finalize(picture, self._give_back, size_bytes).atexit = False

    def _wait_for(self, size_bytes: int) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._take(size_bytes)
            except QueueFull:
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_S)

    def _take(self, size_bytes: int) -> None:
        with self._lock:
            while self._returned:
                self._taken_bytes -= self._returned.popleft()
            if self._taken_bytes + size_bytes > self._most_bytes:
                raise QueueFull(
                    "as many pictures as fit in memory wait to be edited already", _ASK_AGAIN_S
                )
            self._taken_bytes += size_bytes

    def _give_back(self, size_bytes: int) -> None:
        """Without the lock: a picture may end in the middle of anything, `_take` included."""
        self._returned.append(size_bytes)


def open_picture_room(app: Flask, most_bytes: int = MOST_BYTES_HELD) -> None:
    app.extensions[_EXTENSION] = PictureRoom(most_bytes)


def picture_room() -> PictureRoom:
    """That of the application that answers on this thread."""
    room: PictureRoom = current_app.extensions[_EXTENSION]
    return room
