"""A generation's record, as it is when it is accepted."""

from __future__ import annotations

from datetime import UTC, datetime

from imagegen.generation import GenerationRequest
from imagegen.generations.records import GenerationRecord, Lease

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def new_record(**fields: object) -> GenerationRecord:
    said: dict[str, object] = {
        "id": "gen_" + "0" * 20,
        "owner": "",
        "caller": "127.0.0.1",
        "request": GenerationRequest(brand="aurora", prompt="a mug", seed=0),
        "created_at": NOW,
        "lease": Lease(holder="one", until=15.0),
    }
    return GenerationRecord.model_validate(said | fields)
