"""Every failure a caller or an operator can meet. Each says what happened and what to do.

ImagegenError
├── CallerError                 the request is at fault
│   ├── MalformedJson             malformed_json
│   ├── InvalidRequest            invalid_request       with one entry per field
│   ├── BannedTerm                banned_term
│   ├── Quarantined               quarantined
│   ├── Unauthenticated           unauthenticated       nobody knows who asks
│   ├── UnknownBrand              unknown_brand
│   ├── UnknownImage              unknown_image
│   ├── UnknownGeneration         unknown_generation    none of that id, or somebody else's
│   ├── UnknownCampaign           unknown_campaign      none of that id, or somebody else's
│   ├── NotCancellable            not_cancellable       it has ended
│   ├── MarkedMeanwhile           marked_meanwhile      somebody else has marked the picture since
│   ├── IdempotencyConflict       idempotency_conflict  another body under the same key
│   ├── BodyTooLarge              body_too_large
│   └── UnsupportedMediaType      unsupported_media_type
├── Busy                        ask again after `retry_after_s`
│   ├── QueueFull                 queue_full
│   ├── TooManyStreams            too_many_streams
│   ├── RateLimited               rate_limited          this caller asks too often
│   ├── ModelLoading              model_loading
│   ├── ModelFailed               model_failed
│   ├── Draining                  draining
│   ├── StorageUnavailable        storage_unavailable
│   └── ServiceUnreachable        service_unreachable   no service answers at that address
├── RenderFailed                render_failed         one picture's own failure
├── DeadlineExceeded            deadline_exceeded
├── Cancelled                   cancelled             the caller left or asked to stop
├── ObjectExists                object_exists         create-once met an object of that name
└── OperatorError               the start stops: settings, presets, model
    ├── InvalidSettings           invalid_settings
    ├── InvalidCallers            invalid_callers       the file of API keys, or that of callers
    ├── InvalidPreset             invalid_preset
    ├── InvalidAdapter            invalid_adapter
    ├── InvalidModel              invalid_model
    ├── InvalidScript             invalid_script        a prompt script, as a whole
    ├── InvalidTrace              invalid_trace         an arrival trace that cannot be replayed
    ├── OutputInUse               output_in_use         another batch writes to this folder
    └── InvalidTraining           invalid_training      pictures that no LoRA can learn from
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request."""

    field: str
    message: str


class ImagegenError(Exception):
    """Base of all expected failures; `code` is stable, the text is for people."""

    code: ClassVar[str]

    @property
    def detail(self) -> str:
        return str(self)


class CallerError(ImagegenError):
    """The request is at fault; asking again unchanged will fail again."""

    @property
    def fields(self) -> tuple[FieldError, ...]:
        return ()


class MalformedJson(CallerError):
    code = "malformed_json"


class InvalidRequest(CallerError):
    """One or more fields are wrong; all of them are named."""

    code = "invalid_request"

    def __init__(self, *fields: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in fields))
        self._fields = fields

    @property
    def fields(self) -> tuple[FieldError, ...]:
        return self._fields


class BannedTerm(InvalidRequest):
    code = "banned_term"


class Quarantined(CallerError):
    """This exact picture has killed the render process twice."""

    code = "quarantined"


class Unauthenticated(CallerError):
    """Nothing shown, or nothing that is right: which of them is not said."""

    code = "unauthenticated"


class UnknownBrand(CallerError):
    code = "unknown_brand"


class UnknownImage(CallerError):
    code = "unknown_image"


class UnknownGeneration(CallerError):
    code = "unknown_generation"


class UnknownCampaign(CallerError):
    code = "unknown_campaign"


class NotCancellable(CallerError):
    code = "not_cancellable"


class MarkedMeanwhile(CallerError):
    code = "marked_meanwhile"


class IdempotencyConflict(CallerError):
    code = "idempotency_conflict"


class BodyTooLarge(CallerError):
    code = "body_too_large"


class UnsupportedMediaType(CallerError):
    code = "unsupported_media_type"


class Busy(ImagegenError):
    """Not now; `retry_after_s` is measured or learned, never a constant where a figure exists."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[Busy], tuple[str, float]]:
        return type(self), (str(self), self.retry_after_s)


class QueueFull(Busy):
    code = "queue_full"


class TooManyStreams(Busy):
    code = "too_many_streams"


class RateLimited(Busy):
    code = "rate_limited"


class ModelLoading(Busy):
    code = "model_loading"


class ModelFailed(Busy):
    code = "model_failed"


class Draining(Busy):
    code = "draining"


class StorageUnavailable(Busy):
    code = "storage_unavailable"


class ServiceUnreachable(Busy):
    code = "service_unreachable"


class RenderFailed(ImagegenError):
    code = "render_failed"


class DeadlineExceeded(ImagegenError):
    code = "deadline_exceeded"


class Cancelled(ImagegenError):
    code = "cancelled"


class ObjectExists(ImagegenError):
    code = "object_exists"


class OperatorError(ImagegenError):
    """The operator's mistake: the start stops and says which line or key to mend."""


class InvalidSettings(OperatorError):
    code = "invalid_settings"


class InvalidCallers(OperatorError):
    code = "invalid_callers"


class InvalidPreset(OperatorError):
    code = "invalid_preset"


class InvalidAdapter(OperatorError):
    code = "invalid_adapter"


class InvalidModel(OperatorError):
    code = "invalid_model"


class InvalidScript(OperatorError):
    code = "invalid_script"


class InvalidTrace(OperatorError):
    code = "invalid_trace"


class OutputInUse(OperatorError):
    code = "output_in_use"


class InvalidTraining(OperatorError):
    code = "invalid_training"
