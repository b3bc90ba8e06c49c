"""Watch: one thread that keeps this instance's leases, hears rings, and adopts what nobody has."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping

from imagegen.errors import StorageUnavailable
from imagegen.generations import books
from imagegen.generations.books import KeptThroughout, Lost
from imagegen.generations.records import Failure, GenerationRecord, Settled
from imagegen.generations.register import Held, Register
from imagegen.generations.running import Running

LOOK_S = 1.0  # while there are generations here that somebody may want to cancel
IDLE_LOOK_S = 5.0
_FORGOTTEN_S = 60.0  # a mark without a record is of one that was never acknowledged
_JITTER = 0.2
_log = logging.getLogger(__name__)


class Watch:
    """Looks at what is open in Storage every second, or every five while nothing is here."""

    def __init__(
        self,
        register: Register,
        holder: str,
        mine: Callable[[], Mapping[str, Running]],
        adopt: Callable[[Held], None],
        room: Callable[[], int],
    ) -> None:
        """mine: what is rendered here and lives on. adopt: renders what is now held by `holder`.
        room: pictures that may be adopted just now.
        """
        self._register = register
        self._holder = holder
        self._mine = mine
        self._adopt = adopt
        self._room = room
        self._may_adopt = True
        self._closed = threading.Event()
        self._heard: dict[str, str] = {}  # version of each mark when its record was last seen
        self._again_at: dict[str, float] = {}  # when to look again though nobody rings
        self._unrecorded: dict[str, float] = {}  # since when a mark is known to have no record
        self._renew_at = 0.0
        self.adopted = 0

    def start(self) -> None:
        threading.Thread(target=self._run, name="generations", daemon=True).start()

    def rest(self) -> None:
        """Nothing is adopted any more; what is here is still kept."""
        self._may_adopt = False

    def close(self) -> None:
        """The thread ends."""
        self._may_adopt = False
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self.look()
            except StorageUnavailable as error:
                _log.warning("what is open cannot be seen: %s", error)
            except Exception:
                _log.exception("looking for open generations failed; it goes on")
            spread = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            next_at = time.monotonic() + IDLE_LOOK_S * spread
            while not self._closed.wait(LOOK_S * spread):
                if self._mine() or time.monotonic() >= next_at:
                    break

    def look(self) -> None:
        """Once: renews, hears, adopts."""
        there = self._register.all_open()
        mine = self._mine()
        self._keep(mine, there)
        others = {name: version for name, version in there.items() if name not in mine}
        for known in (self._heard, self._again_at, self._unrecorded):
            for name in known.keys() - there.keys():
                del known[name]
        for name, version in others.items():
            if time.monotonic() >= self._renew_at:  # adopting takes its time
                self._keep(self._mine(), there)
            rung = self._heard.get(name) != version
            if rung or time.time() >= self._again_at.get(name, 0.0):
                self._consider(name)
                self._heard[name] = version

    def _keep(self, mine: Mapping[str, Running], there: Mapping[str, str]) -> None:
        now = time.monotonic()
        due = now >= self._renew_at
        if due:
            self._renew_at = now + books.RENEW_S
        for name, running in mine.items():
            # One that is seen for the first time may have been rung for meanwhile.
            rung = self._heard.get(name) != there.get(name, "")
            self._heard[name] = there.get(name, "")
            if (due or rung) and self._renew(running) and name not in there:
                self._register.open(name)

    def _renew(self, running: Running) -> bool:
        """Whether it is still ours, as far as is known."""
        kept = running.books
        if not isinstance(kept, KeptThroughout) or not kept.is_kept:
            return False
        try:
            if kept.renew(running.record).cancel_wanted:
                running.stop("cancelled")
        except (Lost, Settled):
            running.stop("lost")
            return False
        except StorageUnavailable as error:
            _log.warning("the lease of %s is not renewed: %s", running.id, error)
            return False
        return True

    def _consider(self, name: str) -> None:
        held = self._register.find(name)
        if held is None:
            self._forget(name)
        elif not held.record.is_open:
            self._register.close(name, has_inputs=held.record.has_inputs)
        elif held.record.is_free(time.time()):
            self._again_at[name] = 0.0
            self.adopted += self.take(held)
        elif held.record.lease is not None:
            self._again_at[name] = held.record.lease.until

    def _forget(self, name: str) -> None:
        """A mark without a record: whoever made it has died, or is about to write the record."""
        now = time.time()
        self._again_at[name] = now + books.RENEW_S
        if now - self._unrecorded.setdefault(name, now) > _FORGOTTEN_S:
            self._register.close(name)

    def take(self, held: Held) -> bool:
        """Whether it is rendered here from now on. What is not to be rendered any more ends."""
        record = held.record
        if record.cancel_wanted:
            self._settle(held, record.cancelled())
        elif record.is_worn_out:
            said = f"{record.attempt} instances ended while they rendered it ({record.id})"
            failure = Failure(code="render_failed", detail=said)
            self._settle(held, record.failed(failure))
        elif self._may_adopt and self._room() >= record.request.num_images:
            until = time.time() + books.LEASE_S
            adopted = self._register.replace(held, record.adopted(self._holder, until))
            if adopted is not None:
                _log.info("%s is adopted; attempt %d", record.id, adopted.record.attempt)
                self._adopt(adopted)
                return True
        return False

    def _settle(self, held: Held, ended: GenerationRecord) -> None:
        if self._register.replace(held, ended) is not None:
            self._register.close(ended.id, has_inputs=ended.has_inputs)
