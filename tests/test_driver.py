"""Driver and CUDA: one clear sentence where they do not fit. Needs neither a GPU nor torch."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from imagegen.diffusion import driver
from imagegen.diffusion.driver import cuda_of_the_driver, cuda_of_torch, why_no_cuda
from imagegen.renderers import _in_half


@pytest.mark.parametrize("asked", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("torch_cuda", "driver_cuda", "words"),
    [
        ("13.0", (12, 2), ["up to 12.2", "for CUDA 13.0", "driver 580.", "torch for CUDA 12,"]),
        ("12.6", (11, 8), ["up to 11.8", "for CUDA 12.6", "driver 525.", "torch for CUDA 11,"]),
        ("14.1", (13, 0), ["up to 13.0", "for CUDA 14.1", "install a newer driver"]),
    ],
)
def test_a_driver_too_old_for_torch_is_told(
    asked: str, torch_cuda: str, driver_cuda: tuple[int, int], words: list[str]
) -> None:
    fault = why_no_cuda(asked, torch_cuda, driver_cuda)
    assert fault is not None
    assert all(word in fault for word in [*words, "IMAGEGEN_DEVICE=cpu"])
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("torch_cuda", "driver_cuda", "words"),
    [
        (None, (12, 2), "this build of torch is without CUDA"),
        ("12.6", None, "no NVIDIA driver is installed"),
        ("12.6", (12, 2), "though an NVIDIA driver is installed"),  # any 12 runs 12.6
        ("12.6", (13, 0), "though an NVIDIA driver is installed"),
    ],
)
def test_only_who_asks_for_cuda_is_told_that_there_is_none(
    torch_cuda: str | None, driver_cuda: tuple[int, int] | None, words: str
) -> None:
    assert words in str(why_no_cuda("cuda", torch_cuda, driver_cuda))
    assert why_no_cuda("auto", torch_cuda, driver_cuda) is None


class Libcuda:
    """Answers as the driver's library does: 12020 is CUDA 12.2."""

    def __init__(self, version: int, status: int = 0) -> None:
        self._version, self._status = version, status

    def cuDriverGetVersion(self, number: Any) -> int:
        ctypes.cast(number, ctypes.POINTER(ctypes.c_int))[0] = self._version
        return self._status


def test_the_driver_is_asked_for_the_newest_cuda_it_runs() -> None:
    assert cuda_of_the_driver(lambda name: Libcuda(12_020)) == (12, 2)
    assert cuda_of_the_driver(lambda name: Libcuda(13_000)) == (13, 0)
    assert cuda_of_the_driver(lambda name: Libcuda(12_020, status=999)) is None


def test_without_a_driver_there_is_no_answer() -> None:
    assert cuda_of_the_driver(lambda name: ctypes.CDLL("no-such-library.so")) is None
    assert cuda_of_the_driver(lambda name: object()) is None


@pytest.mark.parametrize("cuda", ["12.6", None])
def test_torch_is_asked_without_being_imported(tmp_path: Path, cuda: str | None) -> None:
    (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\ncuda: str | None = {cuda!r}\n")
    spec = spec_from_file_location("torch", tmp_path / "__init__.py")
    assert cuda_of_torch(lambda name: spec) == cuda
    assert cuda_of_torch(lambda name: None) is None


def test_what_torch_says_is_found(repository: Path) -> None:
    program = (
        "import sys\n"
        "from imagegen.diffusion.driver import cuda_of_torch\n"
        "found = cuda_of_torch()\n"
        "assert 'torch' not in sys.modules\n"
        "import torch\n"
        "assert found == torch.version.cuda\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("device", "dtype", "torch_cuda", "driver_cuda", "half"),
    [
        ("auto", "auto", "12.6", (12, 6), True),
        ("cuda", "auto", "12.6", (13, 0), True),
        ("auto", "auto", None, (12, 6), False),  # a CPU build on a GPU machine
        ("auto", "auto", "12.6", None, False),
        ("cpu", "auto", "12.6", (12, 6), False),
        ("auto", "float32", "12.6", (12, 6), False),
        ("cpu", "float16", None, None, True),
    ],
)
def test_half_precision_files_are_for_who_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: str, torch_cuda: str | None,
    driver_cuda: tuple[int, int] | None, half: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(driver, "cuda_of_torch", lambda: torch_cuda)
    monkeypatch.setattr(driver, "cuda_of_the_driver", lambda: driver_cuda)
    assert _in_half(device, dtype) is half


STUB = """
import sys, types
torch = types.ModuleType("torch")
torch.Tensor, torch.dtype, torch.device = object, object, str
torch.cuda = types.SimpleNamespace(is_available=lambda: False)
torch.version = types.SimpleNamespace(cuda="13.0")
sys.modules["torch"] = torch
from imagegen.diffusion import device
from imagegen.errors import InvalidSettings
assert device.choose_device("cpu") == "cpu"
device.cuda_of_the_driver = lambda: None
assert device.choose_device("auto") == "cpu"
device.cuda_of_the_driver = lambda: (12, 2)
for name in ("auto", "cuda"):
    try:
        device.choose_device(name)
    except InvalidSettings as error:
        print(error.detail)
"""


def test_the_choice_of_a_device_says_so(repository: Path) -> None:
    """With a stand-in for torch, for no machine has a driver that is too old."""
    done = subprocess.run(
        [sys.executable, "-c", STUB], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the NVIDIA driver runs CUDA up to 12.2") == 2
