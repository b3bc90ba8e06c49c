"""Checkpoints that are whole or not there: a killed training goes on from the last one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Writes `state` in one piece."""
    fresh = path.with_suffix(".tmp")
    torch.save(state, fresh)
    fresh.replace(path)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What was saved at `path`; None where nothing was."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
