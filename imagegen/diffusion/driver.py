"""The NVIDIA driver and the CUDA that torch was built for: what they are, and why they do not fit.

Nothing here imports torch, which takes a second or more.
"""

from __future__ import annotations

import ctypes
import importlib.util
import runpy
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

# The oldest driver that runs any minor version of a CUDA (NVIDIA's "CUDA minor version
# compatibility"). For one not listed the sentence names no number.
_OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}


def cuda_of_the_driver(load: Callable[[str], Any] = ctypes.CDLL) -> tuple[int, int] | None:
    """The newest CUDA that the installed driver runs, such as (12, 2); None without a driver.

    Asks the driver's own library, which torch uses too: it is there on Cloud Run, in containers
    and at a desk, where `nvidia-smi` and /proc/driver may be missing.
    """
    number = ctypes.c_int()
    try:
        if load("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return number.value // 1_000, number.value % 1_000 // 10


def cuda_of_torch(
    find: Callable[[str], ModuleSpec | None] = importlib.util.find_spec,
) -> str | None:
    """torch.version.cuda of the torch that would be imported; None for a CPU build, or no torch.

    Read from the file that torch reads it from, which stands by itself.
    """
    spec = find("torch")
    if spec is None or spec.origin is None:
        return None
    said = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    cuda: str | None = said["cuda"]
    return cuda


def why_no_cuda(
    asked: str, torch_cuda: str | None, driver_cuda: tuple[int, int] | None
) -> str | None:
    """The sentence for the operator where torch finds no device; None where a CPU will do.

    asked: "auto" or "cuda". torch_cuda: what torch was built for, such as "12.6"; None for a CPU
    build. A driver too old for torch stops `auto` as well: on a GPU machine nobody means the CPU,
    a hundred times slower.
    """
    if driver_cuda and torch_cuda and driver_cuda[0] < int(torch_cuda.partition(".")[0]):
        return _too_old(torch_cuda, driver_cuda)
    if asked != "cuda":
        return None
    if torch_cuda is None:
        reason = ": this build of torch is without CUDA"
    elif driver_cuda is None:
        reason = ": no NVIDIA driver is installed"
    else:
        reason = ", though an NVIDIA driver is installed"
    return f"IMAGEGEN_DEVICE is cuda, but there is no CUDA device{reason}; use auto or cpu"


def _too_old(torch_cuda: str, driver_cuda: tuple[int, int]) -> str:
    oldest = _OLDEST_DRIVER.get(int(torch_cuda.partition(".")[0]))
    newer = f"driver {oldest} or newer" if oldest else "a newer driver"
    return (
        f"the NVIDIA driver runs CUDA up to {driver_cuda[0]}.{driver_cuda[1]}, but torch is built "
        f"for CUDA {torch_cuda}: install {newer}, or a build of torch for CUDA {driver_cuda[0]}, "
        "or set IMAGEGEN_DEVICE=cpu"
    )
