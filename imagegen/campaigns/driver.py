"""Driver: asks for a campaign's rows, few at a time, until all have ended or somebody stops it.

Every row is asked for under a key of its own, so what two drivers ask for is the same: whoever
takes over needs to know nothing of the one who died.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from typing import Protocol

from imagegen.callers import Caller
from imagegen.campaigns import store
from imagegen.campaigns.progress import Ended, Progress, RowState, progress_of
from imagegen.campaigns.record import CampaignRecord
from imagegen.campaigns.store import CampaignStore, Mark
from imagegen.errors import Busy, CallerError, Draining, ImagegenError, UnknownGeneration
from imagegen.generation import GenerationRequest
from imagegen.generations.records import Failure, GenerationRecord
from imagegen.generations.running import Following

LOOK_S = 15.0  # for campaigns that nobody goes on with
STEP_S = 0.5  # between looks at one's own rows
_LONGEST_WAIT_S = 30.0
_log = logging.getLogger(__name__)


class Desk(Protocol):
    """Where generations are asked for, here or elsewhere."""

    def start(
        self,
        request: GenerationRequest,
        caller: Caller,
        *,
        key: str | None = ...,
        lives_on: bool = ...,
    ) -> Following: ...
    def record(self, generation_id: str, caller: Caller) -> GenerationRecord: ...


class Driver:
    """One thread that looks for campaigns, and one for each that it goes on with."""

    def __init__(self, campaigns: CampaignStore, desk: Desk, most_pictures: int) -> None:
        """most_pictures: of a campaign, asked for at a time: others have their turns too."""
        self._store = campaigns
        self._desk = desk
        self._most_pictures = most_pictures
        self._holder = secrets.token_hex(8)
        self._lock = threading.Lock()  # guards the next one
        self._mine: set[str] = set()
        self._look = threading.Event()
        self._closed = threading.Event()
        self.ended = Ended()

    def start(self) -> None:
        """Returns at once."""
        threading.Thread(target=self._watch, name="campaigns", daemon=True).start()

    def close(self) -> None:
        """Nothing is asked for any more; another instance goes on."""
        self._closed.set()
        self._look.set()

    def ring(self) -> None:
        """There is something new to do."""
        self._look.set()

    def go_on(self, campaign_id: str) -> bool:
        """Here, unless somebody else does; False where there is nothing left to do.

        Raises StorageUnavailable, and Draining where this instance ends.
        """
        if self._closed.is_set():
            raise Draining("this instance is shutting down; ask again", retry_after_s=1)
        self._adopt(campaign_id)
        return self._store.is_running(campaign_id)

    def progress(self, campaign: CampaignRecord) -> Progress:
        """As of now. Raises StorageUnavailable."""
        caller = campaign.as_caller()

        def find(generation_id: str) -> GenerationRecord | None:
            try:
                return self._desk.record(generation_id, caller)
            except UnknownGeneration:
                return None

        return progress_of(campaign, find, self.ended)

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                for campaign_id in self._store.running():
                    self._adopt(campaign_id)
            except ImagegenError as error:
                _log.warning("campaigns are not looked for: %s", error)
            self._look.wait(LOOK_S)
            self._look.clear()

    def _adopt(self, campaign_id: str) -> None:
        with self._lock:
            if campaign_id in self._mine:
                return
        mark = self._store.take(campaign_id, self._holder)
        if mark is None:
            return
        with self._lock:
            self._mine.add(campaign_id)
        threading.Thread(
            target=self._drive, args=(mark,), name=f"campaign {campaign_id}", daemon=True
        ).start()

    def _drive(self, mark: Mark) -> None:
        renew_at = time.monotonic() + store.LEASE_S / 3
        asked: set[str] = set()  # keys of rows, by this thread
        try:
            while not self._closed.is_set():
                if time.monotonic() > renew_at:
                    if self._store.take(mark.id, self._holder) is None:
                        return
                    renew_at = time.monotonic() + store.LEASE_S / 3
                wait_s = self._step(mark, asked)
                if wait_s is None:
                    return
                self._closed.wait(wait_s)
            self._store.give_back(mark.id, self._holder)
        except Exception:
            _log.exception("campaign %s is taken up again in a while", mark.id)
        finally:
            with self._lock:
                self._mine.discard(mark.id)

    def _step(self, mark: Mark, asked: set[str]) -> float | None:
        """Asks for what there is room for; seconds until the next step, None: nothing is left."""
        try:
            campaign = self._store.marked(mark)
            if campaign is None:
                self._leave(mark, campaign)
                return None
            progress = self.progress(campaign)
            for one in progress.with_status("queued"):
                self._ask_again(campaign, one, asked)
            if campaign.wish == "stop" or progress.has_ended:
                self._leave(mark, campaign)
                return None
            room = self._most_pictures - _pictures(progress.with_status("queued", "running"))
            for one in progress.with_status("waiting"):
                if room < one.row.request.num_images and room < self._most_pictures:
                    break
                self._ask(campaign, one, asked)
                room -= one.row.request.num_images
        except Busy as busy:  # too much is asked for, or the model loads, or Storage is away
            return min(max(busy.retry_after_s or STEP_S, STEP_S), _LONGEST_WAIT_S)
        return STEP_S

    def _leave(self, mark: Mark, seen: CampaignRecord | None) -> None:
        """There was nothing to do; unless somebody has wished for more at the same moment."""
        self._store.close(mark.id)
        newest = self._store.marked(mark)
        if newest is not None and newest != seen:
            self._store.open(newest)
            self._look.set()

    def _ask(self, campaign: CampaignRecord, one: RowState, asked: set[str]) -> None:
        """Raises Busy. What is refused for good is noted."""
        try:
            self._start(campaign, one)
            asked.add(campaign.key(one.index))
        except CallerError as error:
            failure = Failure.of(error)
            self._store.change(campaign, lambda newest: newest.refused(one.index, failure))

    def _ask_again(self, campaign: CampaignRecord, one: RowState, asked: set[str]) -> None:
        """Once, for whoever asked before: he may have died, or failed, after the row was written
        down and before anybody was called for it. Raises Busy.
        """
        if campaign.key(one.index) not in asked:
            with contextlib.suppress(CallerError):  # it was accepted: its own record says the rest
                self._start(campaign, one)
            asked.add(campaign.key(one.index))

    def _start(self, campaign: CampaignRecord, one: RowState) -> None:
        key = campaign.key(one.index)
        self._desk.start(one.row.request, campaign.as_caller(), key=key, lives_on=True).leave()


def _pictures(rows: list[RowState]) -> int:
    return sum(one.row.request.num_images for one in rows)
