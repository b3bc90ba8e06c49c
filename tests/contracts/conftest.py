"""What the suites of several implementations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_bucket import FakeBucket, running_bucket_server


@pytest.fixture(scope="module")
def server() -> Iterator[FakeBucket]:
    with running_bucket_server() as running:
        yield running
