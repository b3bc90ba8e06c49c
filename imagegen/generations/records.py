"""GenerationRecord: a generation as it is stored. Plain data; each change gives a new record.

queued ──► running ──► succeeded | failed | cancelled        (queued may end without running)
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from imagegen.errors import CallerError, ImagegenError, NotCancellable, RenderFailed
from imagegen.generation import (
    GeneratedImage,
    Generation,
    GenerationRequest,
    Timings,
    Usage,
)
from imagegen.problems import failure_told

MAX_ATTEMPTS = 3  # then the generation itself is the suspect
Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
OPEN: frozenset[Status] = frozenset({"queued", "running"})


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True)


class Lease(_Stored):
    """Who renders it, and until when nobody else may begin to."""

    holder: str  # an instance's random name; "" is nobody
    until: float  # seconds since 1970


class Failure(_Stored):
    """Why it failed: what the error's problem+json says, without its status."""

    code: str
    detail: str
    errors: tuple[dict[str, str], ...] = ()

    @classmethod
    def of(cls, error: Exception) -> Failure:
        if not isinstance(error, ImagegenError):
            return cls(code="internal_error", detail="something unforeseen went wrong; see the log")
        fields = error.fields if isinstance(error, CallerError) else ()
        faults = tuple({"field": one.field, "message": one.message} for one in fields)
        return cls(code=error.code, detail=error.detail, errors=faults)

    def error(self) -> ImagegenError:
        """The error again."""
        return failure_told(self.model_dump(), None) or RenderFailed(self.detail)


class GenerationRecord(_Stored):
    """Everything that any instance must know of a generation. Methods raise nothing but Settled."""

    id: str
    owner: str  # whose it is; "" is everybody's
    caller: str  # whose turn it takes
    request: GenerationRequest  # its seed is said; pictures that were sent with it lie elsewhere
    created_at: AwareDatetime
    has_inputs: bool = False  # pictures, which lie beside it while it is open
    status: Status = "queued"
    digest: str = ""  # of the body, where it came under a key
    preset_version: str = ""
    model: str = ""
    warnings: tuple[str, ...] = ()
    images: tuple[GeneratedImage, ...] = ()
    timings: Timings = Timings()
    usage: Usage = Usage()
    error: Failure | None = None
    attempt: int = 1
    term: int = 0  # how many instances have had it before this one
    lease: Lease | None = None
    cancel_wanted: bool = False  # whoever holds it shall end it

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    def is_free(self, now: float) -> bool:
        """Whether whoever finds it may take it over."""
        return self.is_open and (self.lease is None or self.lease.until <= now)

    def is_held(self, now: float) -> bool:
        """Whether an instance is about it."""
        return (
            self.is_open
            and self.lease is not None
            and self.lease.holder != ""
            and (self.lease.until > now)
        )

    def is_held_by(self, holder: str) -> bool:
        return self.is_open and self.lease is not None and self.lease.holder == holder

    def prepared(self, preset_version: str) -> GenerationRecord:
        return self._changed(preset_version=preset_version)

    def deposited(self, preset_version: str, until: float) -> GenerationRecord:
        """Nobody has tried it, and until then nobody shall unless he is called for it."""
        return self._changed(
            preset_version=preset_version, attempt=0, lease=Lease(holder="", until=until)
        )

    def begun(self) -> GenerationRecord:
        return self._changed(status="running")

    def renewed(self, until: float) -> GenerationRecord:
        """Only a holder renews. It may have ended since he looked: then it has no lease."""
        return self._changed(lease=self.lease and Lease(holder=self.lease.holder, until=until))

    def adopted(self, holder: str, until: float) -> GenerationRecord:
        return self._changed(
            lease=Lease(holder=holder, until=until), attempt=self.attempt + 1, term=self.term + 1
        )

    def released(self, again_at: float, *, unharmed: bool) -> GenerationRecord:
        """Given back. unharmed: it was not its fault, so this attempt does not count."""
        attempt = self.attempt - 1 if unharmed else self.attempt
        return self._changed(lease=Lease(holder="", until=again_at), attempt=attempt)

    @property
    def is_worn_out(self) -> bool:
        """Its last holder has died of it, or of something else, and so have those before."""
        return self.attempt >= MAX_ATTEMPTS and self.lease is not None and self.lease.holder != ""

    def cancel_asked(self) -> GenerationRecord:
        return self._changed(cancel_wanted=True)

    def succeeded(self, generation: Generation) -> GenerationRecord:
        said = ("preset_version", "model", "warnings", "images", "timings", "usage")
        return self._changed(
            status="succeeded", lease=None, **{name: getattr(generation, name) for name in said}
        )

    def failed(self, failure: Failure) -> GenerationRecord:
        return self._changed(status="failed", lease=None, error=failure)

    def cancelled(self) -> GenerationRecord:
        return self._changed(status="cancelled", lease=None)

    def generation(self) -> Generation:
        """What every answer about it says, its failure excepted."""
        return Generation(
            id=self.id,
            status=self.status,
            brand=self.request.brand,
            preset_version=self.preset_version,
            model=self.model,
            created_at=self.created_at,
            campaign=self.request.campaign,
            warnings=self.warnings,
            images=self.images,
            timings=self.timings,
            usage=self.usage,
        )

    def _changed(self, **fields: object) -> GenerationRecord:
        """The next state. What has ended stays as it is; `running` never becomes `queued` again."""
        if not self.is_open:
            raise Settled(f"{self.id} has ended: {self.status}")
        return self.model_copy(update=fields)


class Settled(NotCancellable):
    """The generation has ended meanwhile, whatever anybody wants now."""


def without_pictures(request: GenerationRequest) -> GenerationRequest:
    """The request, with what was said of sent pictures left out: a record is small."""
    return request.model_copy(update={"init_image": None, "mask": None, "strength": None})


def inverted_ms(moment: datetime) -> str:
    """13 digits that sort the newest first."""
    return f"{9_999_999_999_999 - int(moment.timestamp() * 1_000):013d}"
