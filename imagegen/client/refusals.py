"""Answers that are no pictures become the errors that they mean."""

from __future__ import annotations

from imagegen import errors
from imagegen.client.talk import Answer
from imagegen.errors import ImagegenError, ServiceUnreachable
from imagegen.problems import detail_of, failure_of, retry_after_s


def refusal_of(answer: Answer) -> ImagegenError:
    """The service's own error again, from its problem+json; or what a proxy's status means."""
    retry_after = answer.headers.get("retry-after")
    failure = failure_of(answer.body, retry_after)
    if failure is not None:
        return failure
    said = detail_of(answer.body)
    if not said and answer.status in (401, 403):
        return errors.RenderFailed(
            f"HTTP {answer.status}: it wants to know who asks. On Cloud Run, give an ID token, or "
            "the address that `gcloud run services proxy SERVICE` prints"
        )
    if not said and answer.status in (429, 502, 503, 504):
        return ServiceUnreachable(
            f"HTTP {answer.status} from {answer.url}", retry_after_s(retry_after)
        )
    return errors.RenderFailed(f"HTTP {answer.status} {said or f'from {answer.url}'}")
