import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from imagegen.adapter_files.tensors import read_file, read_header, read_values
from imagegen.errors import InvalidAdapter


def test_names_shapes_and_values_come_back(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(1.5, np.float16)}
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, {"note": "hello"})
    header, metadata = read_file(path)
    assert metadata == {"note": "hello"}
    assert (header["a"].dtype, header["a"].shape, header["b"].shape) == ("F32", (2, 3), ())
    for name, values in tensors.items():
        np.testing.assert_array_equal(read_values(path, header[name]), values)


def test_bfloat16_values_are_widened(tmp_path):
    path = tmp_path / "x.safetensors"
    write(path, {"a": entry("BF16", [2], 0, 4)}, struct.pack("<HH", 0x3F80, 0xFFC0))
    values = read_values(path, read_header(path)["a"])
    assert values[0] == 1.0
    assert np.isnan(values[1])


def entry(dtype: object, shape: object, begin: object, end: object) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write(path: Path, header: object, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


ONE = {"a": entry("F32", [1], 0, 4)}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (ONE, b"\0" * 3, "truncated"),
        (ONE, b"\0" * 5, "1 bytes after the last tensor"),
        (b"{", b"", "not JSON"),
        (b"{\xff}", b"", "not JSON"),
        (b'{"a": ' + b"[" * 100_000, b"", "nested too deep"),
        (b'{"a": ' + b"9" * 9_999 + b"}", b"", "digits"),
        (b'{"a": {}, "a": {}}', b"", "a key twice"),
        ({"a": []}, b"", "exactly dtype, shape and data_offsets"),
        ({"a": {**ONE["a"], "more": 1}}, b"", "exactly dtype, shape and data_offsets"),
        ({"a": entry("F99", [1], 0, 4)}, b"\0" * 4, "unknown dtype 'F99'"),
        ({"a": entry(["F32"], [1], 0, 4)}, b"\0" * 4, "unknown dtype"),
        ({"a": entry("F32", [-1], 0, 4)}, b"\0" * 4, "malformed shape"),
        ({"a": entry("F32", [1.0], 0, 4)}, b"\0" * 4, "malformed shape"),
        ({"a": entry("F32", [True], 0, 4)}, b"\0" * 4, "malformed shape"),
        ({"a": entry("F32", [2**41], 0, 4)}, b"\0" * 4, "malformed shape"),
        ({"a": entry("F32", [1] * 9, 0, 4)}, b"\0" * 4, "malformed shape"),
        ({"a": entry("F32", [1], 0, None)}, b"\0" * 4, "malformed"),
        ({"a": {**ONE["a"], "data_offsets": [0, 4, 8]}}, b"\0" * 4, "malformed"),
        ({"a": entry("F32", [2], 0, 4)}, b"\0" * 4, "do not fit its shape"),
        ({"a": entry("F32", [1], 4, 0)}, b"\0" * 4, "do not fit its shape"),
        (ONE | {"b": entry("F32", [1], 2, 6)}, b"\0" * 6, "overlaps"),
        (ONE | {"b": entry("F32", [1], 0, 4)}, b"\0" * 4, "overlaps"),
        (ONE | {"b": entry("F32", [1], 8, 12)}, b"\0" * 12, "gap"),
        ({"\ud800\n": ONE["a"]}, b"\0" * 4, "unprintable"),
        ({"__metadata__": {"a": 1}}, b"", "__metadata__"),
        ({"__metadata__": []}, b"", "__metadata__"),
    ],
)
def test_a_lying_header_is_refused(tmp_path, header, data, message):
    path = tmp_path / "x.safetensors"
    write(path, header, data)
    with pytest.raises(InvalidAdapter, match=message) as caught:
        read_header(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_by_its_content(tmp_path, protocol):
    path = tmp_path / "x.safetensors"
    path.write_bytes(pickle.dumps({"weights": [1.0] * 99}, protocol=protocol))
    with pytest.raises(InvalidAdapter, match="a pickle, which can run code"):
        read_header(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole safetensors file"),
        (b"\x02\0\0", "not a whole safetensors file"),
        (struct.pack("<Q", 2**60) + b"{}", f"header of {2**60} bytes"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "not a whole safetensors file"),
        (b"PK\x03\x04" + b"\0" * 99, "a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a whole safetensors file"),
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidAdapter, match=message):
        read_header(path)


def test_a_huge_header_is_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:  # sparse: says 2 GiB of header and has them
        file.write(struct.pack("<Q", 2**31) + b"{")
        file.truncate(2**31 + 8)
    with pytest.raises(InvalidAdapter, match="exceeds"):
        read_header(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "gone.safetensors", tmp_path):
        with pytest.raises(InvalidAdapter, match="no such file"):
            read_header(path)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    for content in (data, struct.pack("<Q", len(data) + 1) + b"{" + data):
        path.write_bytes(content)
        try:
            read_header(path)
        except InvalidAdapter as error:
            assert str(path) in str(error)  # noqa: PT017 - both outcomes are right
