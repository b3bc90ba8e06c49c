"""AUTOMATIC1111's samplers and schedule types <-> the request's schedulers."""

from __future__ import annotations

from collections.abc import Sequence

from imagegen.errors import FieldError, InvalidRequest
from imagegen.generation import Scheduler
from imagegen.provenance import A1111_SAMPLERS

KARRAS = "Karras"
_AUTOMATIC = ("", "automatic")
# Other names of the same, besides our own: its old ones and k-diffusion's.
_ALIASES: dict[Scheduler, tuple[str, ...]] = {
    Scheduler.DDIM: (),
    Scheduler.DDPM: (),
    Scheduler.EULER: ("k_euler",),
    Scheduler.EULER_A: ("k_euler_a", "k_euler_ancestral"),
    Scheduler.DPMPP_2M: ("k_dpmpp_2m",),
    Scheduler.DPMPP_2M_KARRAS: ("k_dpmpp_2m_ka",),
    Scheduler.UNIPC: (),
    Scheduler.LCM: ("k_lcm",),
}


def name_of(scheduler: Scheduler) -> str:
    """One name for sampler and schedule type together, as version 1.8 and before had it."""
    sampler, schedule_type = A1111_SAMPLERS[scheduler]
    return sampler if schedule_type is None else f"{sampler} {schedule_type}"


def aliases_of(scheduler: Scheduler) -> list[str]:
    """The other names it is found by, in any case of letters."""
    return list(dict.fromkeys((*_ALIASES[scheduler], scheduler.value)))


def find_scheduler(
    sampler: str | None, schedule_type: str | None, allowed: Sequence[Scheduler] | None = None
) -> Scheduler | None:
    """The scheduler that both name; None where neither says anything: the brand decides.

    allowed: the model's; None where no model is known yet.

    `Automatic` is the sampler's own schedule: `DPM++ 2M` alone is without Karras, as in the
    records of our files. Raises InvalidRequest.
    """
    karras = (schedule_type or "").casefold() == KARRAS.casefold()
    if not karras and (schedule_type or "").casefold() not in _AUTOMATIC:
        raise InvalidRequest(FieldError("scheduler", f"there are Automatic and {KARRAS}"))
    if not sampler:
        if karras:
            raise InvalidRequest(FieldError("scheduler", f"say with which sampler_name: {KARRAS}"))
        return None
    found = _named(sampler)
    if found is not None and karras:
        found = _with_karras(found)
    if found not in offered(allowed):
        known = ", ".join(map(name_of, offered(allowed)))
        raise InvalidRequest(FieldError("sampler_name", f"Sampler not found; there are {known}"))
    return found


def offered(schedulers: Sequence[Scheduler] | None) -> list[Scheduler]:
    """Those the model allows; all where it is not known yet."""
    return list(Scheduler) if schedulers is None else [s for s in Scheduler if s in schedulers]


def _named(sampler: str) -> Scheduler | None:
    wanted = sampler.casefold()
    for scheduler in Scheduler:
        if wanted in map(str.casefold, (name_of(scheduler), *aliases_of(scheduler))):
            return scheduler
    return None


def _with_karras(scheduler: Scheduler) -> Scheduler:
    sampler, _ = A1111_SAMPLERS[scheduler]
    for other, named in A1111_SAMPLERS.items():
        if named == (sampler, KARRAS):
            return other
    raise InvalidRequest(FieldError("scheduler", f"{sampler} has no schedule {KARRAS} here"))
