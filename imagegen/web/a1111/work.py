"""What is being made for a caller of this dialect: how far it is, and a way to stop it."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from imagegen.callers import Caller
from imagegen.engine.process import Progress
from imagegen.generations.events import Look
from imagegen.generations.running import Following

_NAMES = {"skipped": False, "stopping_generation": False, "job_no": 0}  # of a state there


class Work:
    """One request while it is rendered."""

    def __init__(self, job: str, num_images: int) -> None:
        """job: such as "txt2img"."""
        self.job = job
        self.interrupted = False
        self.begun_at = datetime.now(UTC)
        self.newest_look: Look | None = None
        self._num_images = num_images
        self._progress: dict[int, Progress] = {}
        self._lock = threading.Lock()  # guards the next two
        self._following: Following | None = None
        self._last = 0

    def follow(self, following: Following) -> None:
        """From now on there is something to look at."""
        self._following = following

    def look(self) -> None:
        """Takes in what has happened since it was looked at last."""
        with self._lock:
            if self._following is None:
                return
            for event in self._following.heard(self._last, 0):
                self._last = event.number
                if isinstance(event.what, Look):
                    self.newest_look = event.what
                elif isinstance(event.what, Progress):
                    self._progress = self._progress | {event.what.index: event.what}

    @property
    def share(self) -> float:
        """Of all steps of all pictures, those that are done: 0 to 1."""
        heard = self._progress.values()
        return sum(one.step / one.of for one in heard) / self._num_images

    @property
    def step(self) -> tuple[int, int]:
        """(steps done, of so many) of the picture that is furthest; (0, 0) before the first."""
        heard = [(one.step, one.of) for one in self._progress.values()]
        return max(heard, default=(0, 0))

    @property
    def eta_s(self) -> float:
        """Until all that has begun is done, at its pace; 0 where that is not known yet."""
        return max((one.eta_s or 0.0 for one in self._progress.values()), default=0.0)


class Works:
    """Everybody's work on this instance; a caller sees and stops his own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[tuple[str, str], list[Work]] = {}

    @contextmanager
    def entered(self, caller: Caller, work: Work) -> Iterator[Work]:
        """`work` is seen for as long as the context lasts."""
        key = (caller.owner, caller.name)
        with self._lock:
            self._of.setdefault(key, []).append(work)
        try:
            yield work
        finally:
            with self._lock:
                self._of[key].remove(work)
                if not self._of[key]:
                    del self._of[key]

    def of(self, caller: Caller) -> list[Work]:
        """His, the oldest first."""
        with self._lock:
            return list(self._of.get((caller.owner, caller.name), ()))


def progress_answer(works: Sequence[Work], *, with_picture: bool) -> dict[str, Any]:
    """The body of GET progress about one caller's work, the oldest first.

    with_picture: it may hold a look at the oldest that has one, a small PNG in Base64.
    """
    for work in works:
        work.look()
    oldest = works[0] if works else None
    step, of = oldest.step if oldest else (0, 0)
    looks = [work.newest_look for work in works if work.newest_look is not None]
    return {
        "progress": sum(work.share for work in works) / len(works) if works else 0.0,
        "eta_relative": max((work.eta_s for work in works), default=0.0),
        "state": {
            **_NAMES,
            "interrupted": any(work.interrupted for work in works),
            "job": f"scripts_{oldest.job}" if oldest else "",
            "job_count": len(works),
            "job_timestamp": f"{oldest.begun_at:%Y%m%d%H%M%S}" if oldest else "0",
            "sampling_step": step,
            "sampling_steps": of,
        },
        "current_image": _png(looks[0]) if looks and with_picture else None,
        "textinfo": None,
    }


def _png(look: Look) -> str:
    file = io.BytesIO()
    look.image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
