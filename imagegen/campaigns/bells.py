"""Bells: how whoever renders hears that a campaign is to go on, and why he stays till it has ended.

Cloud Run starts instances for requests, and ends those that have none. A campaign is no request:
its rows are asked for by a thread of an instance that renders.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Protocol

from imagegen.campaigns.driver import Driver
from imagegen.cloud_tasks import CloudTasks
from imagegen.errors import ServiceUnreachable
from imagegen.front.renderer import RemoteRenderer

AGAIN_S = 60.0  # between calls of the queue; an idle instance with a GPU lives for ten minutes
_ANSWER_S = 30.0
_log = logging.getLogger(__name__)


class Bell(Protocol):
    """Both return soon. `keep` raises ServiceUnreachable."""

    def ring(self, campaign_id: str) -> None:
        """Somebody has begun, resumed or retried it."""

    def keep(self, campaign_id: str) -> None:
        """It goes on: nobody who renders may fall asleep over it."""


class BellHere:
    """This instance renders, and is awake as long as it is there."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def ring(self, campaign_id: str) -> None:
        """Its own driver looks at once."""
        self._driver.ring()

    def keep(self, campaign_id: str) -> None:
        """Nothing: nobody here can keep an instance from being ended."""


class BellOnTheLine:
    """The renderer is elsewhere. Whoever looks at a campaign's page keeps it awake, nobody else."""

    def __init__(self, renderer: RemoteRenderer) -> None:
        self._renderer = renderer

    def ring(self, campaign_id: str) -> None:
        """It wakes, and looks at once."""
        self._renderer.call()

    def keep(self, campaign_id: str) -> None:
        """Now and then."""
        self._renderer.keep()


class BellOfQueue:
    """Cloud Tasks calls the renderer: at once, and then once in each `AGAIN_S` until it has ended.

    Each call puts the next one, so an instance that dies is followed by another within a minute,
    whether or not somebody watches. Calls are short: held open, many campaigns would take up the
    queue's places, and their own rows would find none.
    """

    def __init__(self, queue: CloudTasks, otherwise: Bell) -> None:
        """otherwise: where the queue takes nothing."""
        self._queue = queue
        self._otherwise = otherwise
        self._put: tuple[int, frozenset[str]] = (0, frozenset())  # the newest window's

    def ring(self, campaign_id: str) -> None:
        """A call of its own, whatever is in the queue for it."""
        try:
            self._queue.put(_path(campaign_id), datetime.now(UTC), _ANSWER_S)
        except ServiceUnreachable as error:
            _log.error("%s; whoever is awake goes on with it", error)
            self._otherwise.ring(campaign_id)

    def keep(self, campaign_id: str) -> None:
        """One call for each window of time, whoever asks for it, half a window away at least: so a
        call that comes early by this clock does not put itself.
        """
        window = int(time.time() / AGAIN_S + 1.5)
        newest, there = self._put
        if newest == window and campaign_id in there:
            return
        due = datetime.fromtimestamp(window * AGAIN_S, UTC)
        self._queue.put(_path(campaign_id), due, _ANSWER_S, due=due)
        self._put = (window, (there if newest == window else frozenset()) | {campaign_id})


def _path(campaign_id: str) -> str:
    return f"campaigns/{campaign_id}"
