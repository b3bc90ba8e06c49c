"""Whether the render process is well: its phases, time-outs, restarts. Plain data, no clock.

stopped -> import, fetch, load, adapters, warmup -> ready
             ^                |                      |
             |                v                      |
         restarting <------ died <-------------------+
                              |  too often, or the operator's mistake
                              v
                            failed
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imagegen.engine.messages import Done, Entered, FromChild, LoadFailed, Poisoned, Ready
from imagegen.engine.renderer import PHASES
from imagegen.engine.start_up import StartUp, in_words
from imagegen.generation import ModelInfo

STOPPED, READY = "stopped", "ready"
RESTARTING, FAILED, DRAINING = "restarting", "failed", "draining"

LOADS_TO_FAIL = 3  # in a row, none of which became ready
DEATHS_TO_FAIL = 10  # in a row, without a picture finished or found guilty between them
# In a row, without a finished picture: if every picture kills, it is the accelerator that is ill
GUILTY_TO_FAIL = 6
LONGEST_BACKOFF_S = 30.0


@dataclass
class Supervision:
    """What the parent knows about the render process; `now` is monotonic, in seconds."""

    step_timeout_s: float
    load_timeout_s: float
    phase: str = STOPPED
    model: ModelInfo | None = None  # stays known while the process restarts
    error: str | None = None  # of the last death or failed load, until the next one is ready
    hopeless: bool = False  # failed through deaths, where another instance may do better
    deaths: int = 0
    start_up: StartUp = field(default_factory=StartUp)
    container_s: float | None = None  # of the instance's life before the first render process
    _start_at: float = 0.0
    _started_at: float = 0.0
    _heard_at: float = 0.0
    _loads_in_a_row: int = 0
    _deaths_in_a_row: int = 0
    _guilty_in_a_row: int = 0
    _last_words: str | None = None

    @property
    def loading(self) -> bool:
        return self.phase not in (STOPPED, READY, RESTARTING, FAILED)

    def may_start(self, now: float) -> bool:
        return self.phase in (STOPPED, RESTARTING) and now >= self._start_at

    def started(self, now: float) -> None:
        self.phase, self._last_words = PHASES[0], None
        self._started_at = self._heard_at = now
        self.start_up.begin(now, self.container_s)
        self.container_s = None

    def heard(self, now: float) -> None:
        """It lives: any message, or new work for an idle one, from which its time counts."""
        self._heard_at = now

    def hear(self, message: FromChild, now: float) -> list[str]:
        """Takes note of what the child says about itself; returns lines for the log."""
        self.heard(now)
        match message:
            case Entered(phase):
                return self._enter(phase, now)
            case Ready(model):
                return self._ready(model, now)
            case LoadFailed(text, final=True):
                self.start_up.interrupt(now)
                self.failed(text, hopeless=False)
            case LoadFailed(text, traceback=traceback) | Poisoned(text, traceback):
                self._last_words = text
                return [f"{text}\n{traceback}"]
            case Done(render_s=render_s):
                self._deaths_in_a_row = self._guilty_in_a_row = 0
                if self.start_up.first_picture(render_s):
                    return [f"first picture in {render_s:.1f} s"]
        return []

    def died(self, how: str, now: float, *, by_guilty_picture: bool = False) -> None:
        """Decides between another start, later each time, and giving up.

        A picture that was found guilty is out: what it did says nothing about this instance.
        """
        if self.phase == FAILED:
            return
        self.start_up.interrupt(now)
        reason = self._last_words or how
        self.deaths += 1
        self._deaths_in_a_row = 0 if by_guilty_picture else self._deaths_in_a_row + 1
        self._guilty_in_a_row += by_guilty_picture
        if self.phase != READY:
            self._loads_in_a_row += 1
        if (
            self._loads_in_a_row >= LOADS_TO_FAIL
            or self._deaths_in_a_row >= DEATHS_TO_FAIL
            or self._guilty_in_a_row >= GUILTY_TO_FAIL
        ):
            self.failed(reason, hopeless=True)
            return
        self.phase, self.error = RESTARTING, reason
        self._start_at = now + self._backoff_s()

    def renew(self, now: float) -> None:
        """Somebody has ended it on purpose: the next one starts at once, and nothing counts."""
        self.phase, self._start_at = RESTARTING, now
        self.start_up.interrupt(now)

    def failed(self, reason: str, *, hopeless: bool) -> None:
        """For good: only a new instance can help or, unless `hopeless`, only the operator."""
        self.phase, self.error, self.hopeless = FAILED, reason, hopeless

    def stopped(self) -> None:
        self.phase = STOPPED

    def due(self, *, busy: bool) -> float | None:
        """When to look again if nothing is heard until then."""
        if self.phase in (STOPPED, RESTARTING):
            return self._start_at
        if self.loading:
            return self._started_at + self.load_timeout_s
        return self._heard_at + self.step_timeout_s if busy and self.phase == READY else None

    def ailment(self, now: float, *, busy: bool) -> str | None:
        """Why it has to be killed, if it has to."""
        if self.loading and now >= self._started_at + self.load_timeout_s:
            return f"still {self.phase} after {self.load_timeout_s:g} s of loading"
        if self.phase == READY and busy and now >= self._heard_at + self.step_timeout_s:
            return f"no sign of life for {self.step_timeout_s:g} s"
        return None

    def eta_s(self, now: float) -> float | None:
        """Seconds until it can render; known once a load has been measured."""
        if self.phase == READY:
            return 0.0
        left_s = self.start_up.left_s(now)
        if left_s is None or self.phase in (STOPPED, FAILED):
            return None
        return left_s + (max(0.0, self._start_at - now) if self.phase == RESTARTING else 0.0)

    def _enter(self, phase: str, now: float) -> list[str]:
        if phase == self.phase:
            return []
        over, self.phase = self.phase, phase
        self.start_up.enter(phase, now)
        return [f"{over} {self.start_up.spent[over]:.1f} s"]

    def _ready(self, model: ModelInfo, now: float) -> list[str]:
        over, load_s = self.phase, self.start_up.finish(now)
        self.phase, self.model, self.error, self._loads_in_a_row = READY, model, None, 0
        return [
            f"{over} {self.start_up.spent[over]:.1f} s",
            f"ready after {load_s:.1f} s: {model.name} on {model.device} in {model.dtype}"
            f" ({in_words(self.start_up.spent)})",
        ]

    def _backoff_s(self) -> float:
        """The first restart is immediate, then half a second, doubled each time."""
        tries = max(self._deaths_in_a_row, self._loads_in_a_row)
        return 0.0 if tries <= 1 else min(0.5 * 2.0 ** (tries - 2), LONGEST_BACKOFF_S)
