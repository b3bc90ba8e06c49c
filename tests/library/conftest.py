"""A store with generations that were made long ago."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sample_records import NOW, new_record

from imagegen.generation import GeneratedImage, GenerationRequest
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Register
from imagegen.storage.record_folder import FolderRecords

Make = Callable[..., GenerationRecord]


@pytest.fixture
def store(tmp_path: Path) -> FolderRecords:
    return FolderRecords(tmp_path)


@pytest.fixture
def register(store: FolderRecords) -> Register:
    return Register(store)


@pytest.fixture
def make(register: Register) -> Make:
    """Writes generation `number`, which arrived so many seconds after NOW."""

    def write(number: int, *, pictures: int = 1, recorded: bool = True, **said: object) -> object:
        fields = {"brand": "aurora", "prompt": f"mug {number}", "seed": number}
        status = said.pop("status", "succeeded")
        owner = said.pop("owner", "")
        record = new_record(
            id=f"gen_{number:020x}",
            owner=owner,
            caller=owner or "127.0.0.1",
            created_at=NOW + timedelta(seconds=number),
            request=GenerationRequest.model_validate(fields | {"num_images": pictures or 1} | said),
            status=status,
            lease=None,
            images=tuple(image(number + index) for index in range(pictures)),
        )
        register.index(record)
        if recorded:
            assert register.create(record) is not None
        return record

    return write  # type: ignore[return-value]


def image(seed: int) -> GeneratedImage:
    return GeneratedImage(
        url="/x", storage_uri="file:///x", seed=seed, width=64, height=96,
        content_type="image/png", size_bytes=1, sha256="",
    )  # fmt: skip
