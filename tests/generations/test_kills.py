"""kill -9 at random instants, with real servers on one bucket: what was acknowledged ends, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_bucket import running_bucket_server

from bench import kills

KILLS = 5


def test_every_acknowledged_generation_ends_with_one_set_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_bucket_server() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        seen = kills.run(1, KILLS, f"gs://{server.new()}/prefix", tmp_path, pace_s=2.5)
    assert seen.faults == []
    assert seen.kills == KILLS
    assert seen.ended["succeeded"] > 10
    assert seen.answers["cut off"] > 0
    assert sum(count for attempt, count in seen.attempts.items() if attempt > 1) > 0
