"""StartUp: where the seconds of a start go, and how many are still to come. Plain data, no clock.

container │ import │ fetch │ load │ adapters │ warmup │ … first_picture
the process begins, the render process begins        ready, a picture is there
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagegen.engine.renderer import PHASES

CONTAINER, FIRST_PICTURE = "container", "first_picture"


@dataclass
class StartUp:
    """One start after the other; `now` is monotonic, in seconds."""

    spent: dict[str, float] = field(default_factory=dict)  # seconds of each phase that is over
    usual: Mapping[str, float] = field(default_factory=dict)  # of earlier starts
    _phase: str | None = None  # the one that is not over
    _began_at: float = 0.0
    _phase_at: float = 0.0

    def begin(self, now: float, container_s: float | None = None) -> None:
        """A render process is started; container_s: what came before, at the first one's start."""
        self.spent = {} if container_s is None else {CONTAINER: container_s}
        self._phase, self._began_at, self._phase_at = PHASES[0], now, now

    def enter(self, phase: str, now: float) -> None:
        """The phase before is over."""
        self._end_phase(now)
        self._phase, self._phase_at = phase, now

    def expect(self, seconds: Mapping[str, float]) -> None:
        """What each phase took in starts like this one."""
        self.usual = {phase: seconds.get(phase, 0.0) for phase in PHASES}

    def finish(self, now: float) -> float:
        """The renderer is ready; returns the seconds since its start, which are usual from now."""
        self._end_phase(now)
        self._phase = None
        self.expect(self.spent)
        return now - self._began_at

    def interrupt(self, now: float) -> None:
        """The render process is gone, or will not become ready."""
        self._end_phase(now)
        self._phase = None

    def first_picture(self, render_s: float) -> bool:
        """A picture is there; whether it was the first one after a start."""
        if FIRST_PICTURE in self.spent:
            return False
        self.spent[FIRST_PICTURE] = render_s
        return True

    def so_far(self, now: float) -> dict[str, float]:
        """Seconds of each phase, of the one that is not over too."""
        if self._phase is None:
            return dict(self.spent)
        return {**self.spent, self._phase: now - self._phase_at}

    def left_s(self, now: float) -> float | None:
        """Until it is ready, if starts so far tell; a phase that takes longer is nearly over."""
        if not self.usual:
            return None
        if self._phase is None:
            return sum(self.usual.values())
        over = self.so_far(now)
        coming = PHASES[PHASES.index(self._phase) :]
        return sum(max(0.0, self.usual[phase] - over.get(phase, 0.0)) for phase in coming)

    def _end_phase(self, now: float) -> None:
        if self._phase is not None:
            self.spent = self.so_far(now)


def in_words(seconds: Mapping[str, float]) -> str:
    """`import 1.9 s, load 2.0 s`."""
    return ", ".join(f"{phase.replace('_', ' ')} {spent:.1f} s" for phase, spent in seconds.items())
