"""Shared by every test: no settings from the shell, no downloads, one way to find a browser."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Before anything imports torch or a hub client, and inherited by the processes that tests start.
for name in [name for name in os.environ if name.startswith("IMAGEGEN_")] + ["PORT"]:
    os.environ.pop(name, None)
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for the network fails at once
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # two torch processes on two cores must not spin
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the other core is another worker's


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command sets this process's whole logging, to the stream that its test captures.

    Threads that outlive the test would write to it when it is closed.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def chromium() -> str:
    """The machine's Chromium. Without one browser tests are skipped, and fail where CI is set."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    reason = "no Chromium on this machine; on Debian: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
