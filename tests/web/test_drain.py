"""SIGTERM at random instants, with real servers: everybody is answered, and everything is whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_bucket import FakeBucket, SlowLine, running_bucket_server

from bench.drain import Drain, check_folder, check_store, drain
from imagegen.storage.gcs import CloudStorage

pytestmark = pytest.mark.alone  # each exit is due within 9.5 s

IN_A_FOLDER, IN_A_BUCKET = 12, 4
AT_ONCE = 2  # servers; each has two processes and six callers, and time is what is tested


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[FakeBucket]:
    with running_bucket_server() as running:
        yield running


def test_a_folder(tmp_path: Path) -> None:
    def one(seed: int) -> Drain:
        folder = tmp_path / str(seed)
        seen = drain(seed, folder)
        check_folder(seen, folder / "output")
        return seen

    with ThreadPoolExecutor(AT_ONCE) as servers:
        drains = list(servers.map(one, range(IN_A_FOLDER)))
    assert [fault for seen in drains for fault in seen.faults] == []
    assert sum(seen.answers["200"] for seen in drains) > IN_A_FOLDER
    assert sum(seen.answers["503 draining, new"] for seen in drains) > IN_A_FOLDER
    assert sum(seen.answers["503 draining, in flight"] for seen in drains) > 0
    unready = [seen.unready_s for seen in drains if seen.unready_s is not None]
    assert max(unready) < 1


@pytest.mark.parametrize("upload_s", [0.3, 1.5])
def test_a_bucket_that_takes_its_time(
    bucket_server: FakeBucket, tmp_path: Path, upload_s: float
) -> None:
    def one(seed: int) -> Drain:
        url = f"gs://{bucket_server.new()}/pictures"
        with contextlib.closing(SlowLine(bucket_server.endpoint, upload_s)) as line:
            environment = {"IMAGEGEN_STORAGE": url, "STORAGE_EMULATOR_HOST": line.endpoint}
            seen = drain(seed, tmp_path / str(seed), environment)
        assert line.uploads
        check_store(seen, CloudStorage(url, endpoint=bucket_server.endpoint))
        return seen

    with ThreadPoolExecutor(AT_ONCE) as servers:
        drains = list(servers.map(one, range(IN_A_BUCKET)))
    assert [fault for seen in drains for fault in seen.faults] == []
    assert sum(seen.answers["200"] for seen in drains) > 0
