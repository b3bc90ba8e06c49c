"""What a safetensors file holds, read and distrusted without torch.

Format: 8 bytes little-endian header length, a JSON header, the tensors back to back
(https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from imagegen.errors import InvalidAdapter

# a UNet's header is about 0.2 MiB; the training notes in a LoRA's reach a few MiB
MAX_HEADER_BYTES = 16 * 2**20
MAX_SIDE = 2**40
FLOAT_DTYPES = frozenset({"F16", "BF16", "F32", "F64"})

_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_NUMPY_DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


@dataclass(frozen=True)
class TensorHeader:
    """One tensor's place: `offsets` are its first byte in the file and the one after its last."""

    dtype: str
    shape: tuple[int, ...]
    offsets: tuple[int, int]


def read_header(path: Path) -> dict[str, TensorHeader]:
    """Every tensor of a safetensors file by name. Raises InvalidAdapter: file and fault."""
    return read_file(path)[0]


def read_file(path: Path) -> tuple[dict[str, TensorHeader], dict[str, str]]:
    """The tensors and the `__metadata__` texts of a safetensors file. Raises InvalidAdapter."""
    if not path.is_file():
        raise InvalidAdapter(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            length = _header_length(file, size_bytes)
            said = _parse_json(file.read(length))
        metadata = _read_metadata(said.pop("__metadata__", {}))
        header = {name: _read_entry(name, entry, 8 + length) for name, entry in said.items()}
        _check_layout(header, 8 + length, size_bytes)
    except (OSError, ValueError) as error:
        raise InvalidAdapter(f"{path}: {error}") from None
    return header, metadata


def read_values(path: Path, tensor: TensorHeader) -> npt.NDArray[np.floating[Any]]:
    """One float tensor's values in its shape; BF16 comes as float32."""
    with path.open("rb") as file:
        file.seek(tensor.offsets[0])
        data = file.read(tensor.offsets[1] - tensor.offsets[0])
    values = np.frombuffer(data, _NUMPY_DTYPES[tensor.dtype])
    if tensor.dtype == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(tensor.shape)


def _header_length(file: BinaryIO, size_bytes: int) -> int:
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    plausible = len(start) == 9 and length <= size_bytes - 8 and start[8:] == b"{"
    if plausible and length <= MAX_HEADER_BYTES:
        file.seek(8)
        return length
    if start.startswith(_PICKLE_STARTS):
        raise ValueError(
            "this is a pickle, which can run code when opened; save the adapter as safetensors"
        )
    if plausible:
        raise ValueError(f"its header of {length} bytes exceeds {MAX_HEADER_BYTES}")
    raise ValueError(
        f"not a whole safetensors file: it declares a header of {length} bytes"
        f" and has {size_bytes} bytes in all"
    )


def _parse_json(text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ValueError("its header names a key twice")
        return found

    try:
        said = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"its header is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("its header is nested too deep") from None
    if not isinstance(said, dict):
        raise ValueError("its header is not a JSON object")  # noqa: TRY004 - a file's fault, not a caller's
    return said


def _read_metadata(said: object) -> dict[str, str]:
    if not isinstance(said, Mapping) or not all(isinstance(text, str) for text in said.values()):
        raise ValueError("its __metadata__ is not a table of texts")
    return dict(said)


def _read_entry(name: str, entry: object, data_start: int) -> TensorHeader:
    if not name.isprintable():
        raise ValueError(f"the tensor name {name[:200]!r} holds unprintable characters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise ValueError(f"tensor {name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if (
        not _whole_numbers(shape, most=8)
        or not _whole_numbers(offsets, most=2)
        or len(offsets) != 2
    ):
        raise ValueError(f"tensor {name!r} has a malformed shape or malformed data_offsets")
    if math.prod(shape) * _ITEM_BYTES[dtype] != offsets[1] - offsets[0]:
        raise ValueError(f"tensor {name!r} has offsets that do not fit its shape and dtype")
    return TensorHeader(dtype, tuple(shape), (data_start + offsets[0], data_start + offsets[1]))


def _whole_numbers(said: object, most: int) -> bool:
    return (
        isinstance(said, list)
        and len(said) <= most
        and all(type(number) is int and 0 <= number <= MAX_SIDE for number in said)
    )


def _check_layout(header: Mapping[str, TensorHeader], data_start: int, size_bytes: int) -> None:
    """Tensors lie back to back: no overlap, none past the end, nothing left over."""
    end = data_start
    for name, tensor in sorted(header.items(), key=lambda item: item[1].offsets):
        if tensor.offsets[0] != end:
            raise ValueError(f"tensor {name!r} overlaps another or leaves a gap before it")
        end = tensor.offsets[1]
    if end > size_bytes:
        raise ValueError(f"truncated: its tensors need {end} bytes, the file has {size_bytes}")
    if end < size_bytes:
        raise ValueError(f"{size_bytes - end} bytes after the last tensor belong to none")
