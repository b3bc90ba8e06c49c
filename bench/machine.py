"""What a figure was measured with: the commit, the device, the versions, the day."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "pillow", "fpng", "isal")


@dataclass(frozen=True)
class Machine:
    """Stands beside every figure."""

    commit: str
    dirty: bool  # whether the tree had changes that the commit lacks, results aside
    device: str
    versions: dict[str, str]
    date: str  # UTC, to the minute


def this_machine(*, cuda: bool = False, commit: str | None = None) -> Machine:
    """cuda: names the GPU instead of the processor. commit: where there is no git to ask."""
    own = [":(exclude)bench/results", ":(exclude)docs/performance.md"]
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    return Machine(
        commit=commit or _git("rev-parse", "--short=12", "HEAD") or "unknown",
        dirty=bool(changes),
        device=_gpu() if cuda else _processor(),
        versions={"python": platform.python_version()} | _versions(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    )


def _git(*arguments: str) -> str:
    command = ("git", "-C", str(REPOSITORY), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


def _processor() -> str:
    return f"{_processor_name()}, {len(os.sched_getaffinity(0))} cores"


def _processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
