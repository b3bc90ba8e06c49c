"""A request becomes a generation: what it is called, and how it is known again."""

from __future__ import annotations

import hashlib
import secrets

from imagegen.callers import Caller
from imagegen.errors import IdempotencyConflict
from imagegen.generation import MAX_SEED, GenerationRequest
from imagegen.generations.records import GenerationRecord, without_pictures
from imagegen.reception import Identity


def new_record(
    request: GenerationRequest, caller: Caller, key: str | None = None
) -> GenerationRecord:
    """Its seed is said. Under a key the id derives from it: of several who make its record one
    succeeds.
    """
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    identity = Identity.new()
    return GenerationRecord(
        id=identity.id if key is None else id_under(key, caller),
        owner=caller.owner,
        caller=caller.name,
        request=without_pictures(request).model_copy(update={"seed": seed}),
        created_at=identity.created_at,
        digest="" if key is None else digest_of(request),
        has_inputs=request.init_image is not None,
    )


def digest_of(request: GenerationRequest) -> str:
    """The same for the same pictures, however long somebody would wait for them.

    A field at its default counts as not said: a later version may have more of them.
    """
    sent = [picture and picture.sha256 for picture in (request.init_image, request.mask)]
    said = without_pictures(request).model_dump_json(exclude={"deadline_s"}, exclude_defaults=True)
    return hashlib.sha256(f"{said} {sent} {request.strength}".encode()).hexdigest()


def check_same(there: GenerationRecord, asked: GenerationRecord) -> None:
    """Raises IdempotencyConflict where another request came under the same key."""
    if there.digest != asked.digest:
        raise IdempotencyConflict(
            "another request came under this Idempotency-Key before; choose a new key for this one"
        )


def id_under(key: str, caller: Caller) -> str:
    """Of the generation that he has asked for under this key, or would."""
    name = hashlib.sha256(f"{caller.owner}\0{key}".encode()).hexdigest()[:20]
    return f"gen_{name}"
