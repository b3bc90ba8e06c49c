"""Does a LoRA file fit a model? Asked at the start, without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from imagegen.adapter_files.targets import (
    AdapterTarget,
    Component,
    declared_alphas,
    land,
    read_modules,
    some,
)
from imagegen.adapter_files.tensors import FLOAT_DTYPES, TensorHeader, read_header, read_values
from imagegen.errors import InvalidAdapter

MAX_RANK = 128


def check_file(path: Path) -> list[str]:
    """What is wrong with a LoRA file whatever the model: missing, a pickle, cut short, NaN."""
    try:
        header = read_header(path)
    except InvalidAdapter as error:
        return [str(error).removeprefix(f"{path}: ")]
    return _strange_types(header) or _unfinite(path, header, header)


def check_adapter(path: Path, model_folder: Path) -> list[str]:
    """Everything that keeps a LoRA file from working with a model; empty when it fits.

    Raises InvalidModel where the model folder is not one.
    """
    modules = read_modules(model_folder)
    try:
        header = read_header(path)
    except InvalidAdapter as error:
        return [str(error).removeprefix(f"{path}: ")]
    if strange := _strange_types(header):
        return strange
    targets, faults = land(header, {part: frozenset(layers) for part, layers in modules.items()})
    misfits = [fault for target in targets if (fault := _misfit(target, header, modules))]
    if misfits:
        faults.append(f"made for another architecture: {some(misfits)}")
    if large := [target.module for target in targets if target.rank > MAX_RANK]:
        faults.append(f"rank above {MAX_RANK}: {some(large)}")
    try:
        declared_alphas(path, targets)
    except InvalidAdapter as error:
        faults.append(str(error).removeprefix(f"{path}: "))
    return faults + _check_values(path, header, targets)


def _misfit(
    target: AdapterTarget,
    header: Mapping[str, TensorHeader],
    modules: Mapping[Component, Mapping[str, tuple[int, ...]]],
) -> str | None:
    out_features, in_features, *kernel = modules[target.component][target.module]
    down, up = header[target.down].shape, header[target.up].shape
    wanted_down = (target.rank, in_features, *kernel)
    wanted_up = (out_features, target.rank, *(1 for _ in kernel))
    if down == wanted_down and up == wanted_up:
        return None
    return (
        f"{target.down} {list(down)} and {target.up} {list(up)},"
        f" where {target.module} needs {list(wanted_down)} and {list(wanted_up)}"
    )


def _check_values(
    path: Path, header: Mapping[str, TensorHeader], targets: Sequence[AdapterTarget]
) -> list[str]:
    names = {name for t in targets for name in (t.down, t.up, t.alpha) if name is not None}
    faults = _unfinite(path, header, names)
    zero = {name for name in names if not read_values(path, header[name]).any()}
    if targets and all(zero & {t.down, t.up, t.alpha} for t in targets):
        faults.append("it changes nothing: every layer's product is zero")
    return faults


def _strange_types(header: Mapping[str, TensorHeader]) -> list[str]:
    strange = [f"{name} is {t.dtype}" for name, t in header.items() if t.dtype not in FLOAT_DTYPES]
    return [f"only float tensors make an adapter: {some(strange)}"] if strange else []


def _unfinite(path: Path, header: Mapping[str, TensorHeader], names: Collection[str]) -> list[str]:
    found = [n for n in sorted(names) if not np.isfinite(read_values(path, header[n])).all()]
    return [f"values that are not finite numbers in {some(found)}"] if found else []
