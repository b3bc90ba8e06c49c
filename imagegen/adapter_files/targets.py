"""LoRA files without torch: which layers of a model a file changes.

A LoRA adds `scale * up · down` to a layer's weight, scale = alpha / rank (Hu et al. 2021,
arXiv:2106.09685). Two spellings of tensor names are read: diffusers' and peft's
(`unet.down_blocks.0.….to_q.lora_A.weight`, also the older `.lora.down.weight` and
`.processor.to_q_lora.down.weight`), and kohya's (`lora_unet_down_blocks_0_….lora_down.weight`, for
SDXL also `lora_unet_input_blocks_4_…`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imagegen.adapter_files.sgm_names import sgm_names
from imagegen.adapter_files.tensors import TensorHeader, read_file, read_header
from imagegen.errors import InvalidAdapter, InvalidModel

__all__ = [
    "AdapterTarget",
    "Component",
    "TensorHeader",
    "declared_alphas",
    "land",
    "parse_targets",
    "read_header",
    "read_modules",
    "some",
]

Component = Literal["unet", "text_encoder", "text_encoder_2"]
Role = Literal["down", "up", "alpha"]

_COMPONENTS: tuple[Component, ...] = ("unet", "text_encoder", "text_encoder_2")
_SHOWN = 5  # faults of one kind that are spelled out before "and 123 more"

_ENDINGS: tuple[tuple[str, Role], ...] = (
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    ("_lora.down.weight", "down"),
    ("_lora.up.weight", "up"),
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".alpha", "alpha"),
)
_PREFIXES: tuple[tuple[str, Component], ...] = (
    ("unet.", "unet"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("lora_unet_", "unet"),
    ("lora_te_", "text_encoder"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
)
# old diffusers named the text encoders' layers after the UNet's and left out the 0 of to_out.0
_OLD_UNET_LAYERS = {"to_out": "to_out.0"}
_OLD_TEXT_LAYERS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


@dataclass(frozen=True)
class AdapterTarget:
    """One layer a LoRA changes: its dotted path in the model, its tensors' names in the file."""

    component: Component
    module: str
    down: str  # [rank, in] or [rank, in, kernel, kernel]
    up: str  # [out, rank] or [out, rank, 1, 1]
    alpha: str | None  # a scalar; None: `declared_alphas`, else alpha equals the rank
    rank: int


def parse_targets(
    header: Mapping[str, TensorHeader], module_names: Mapping[str, frozenset[str]]
) -> list[AdapterTarget]:
    """The layers a file changes, in the order of their names.

    module_names: per component, the dotted paths of the model's layers; every target's `module` is
    one of them. Raises InvalidAdapter naming the tensors that land in none or miss their partner.
    """
    targets, faults = land(header, module_names)
    if faults:
        raise InvalidAdapter("; ".join(faults))
    return targets


def declared_alphas(path: Path, targets: Sequence[AdapterTarget]) -> dict[AdapterTarget, float]:
    """Alphas written into the metadata (diffusers' `save_lora_weights`) instead of tensors.

    Only targets that have one are in the answer. Raises InvalidAdapter for a variant of LoRA that
    adds something else than `alpha / rank * up · down`.
    """
    text = read_file(path)[1].get("lora_adapter_metadata")
    if text is None:
        return {}
    try:
        said = json.loads(text)
        _refuse_variants(said)
        alphas = {target: _declared_alpha(said, target) for target in targets if not target.alpha}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidAdapter(f"{path}: lora_adapter_metadata: {error}") from None
    return {target: alpha for target, alpha in alphas.items() if alpha is not None}


def read_modules(model_folder: Path) -> dict[Component, dict[str, tuple[int, ...]]]:
    """Each component's layers that a LoRA can change, with their weights' shapes.

    Read from the headers of the model folder's safetensors files.
    Linear weights are [out, in], Conv2d weights [out, in, kernel, kernel]. Raises InvalidModel.
    """
    modules: dict[Component, dict[str, tuple[int, ...]]] = {}
    for component in _COMPONENTS:
        if component == "text_encoder_2" and not (model_folder / component).is_dir():
            continue  # SDXL alone has one
        files = sorted((model_folder / component).glob("*.safetensors"))
        if not files:
            raise InvalidModel(f"{model_folder / component}: no *.safetensors in this folder")
        modules[component] = {}
        for file in files:
            modules[component] |= _layers(file)
    return modules


def land(
    header: Mapping[str, TensorHeader], module_names: Mapping[str, frozenset[str]]
) -> tuple[list[AdapterTarget], list[str]]:
    """What `parse_targets` returns, and every fault it would raise."""
    spellings = _spellings(module_names)
    found: dict[tuple[Component, str], dict[Role, str]] = {}
    lost, faults = [], []
    for name in sorted(header):
        if (landed := _place(name, spellings)) is None:
            lost.append(name)
            continue
        role, place = landed
        roles = found.setdefault(place, {})
        if (other := roles.setdefault(role, name)) != name:
            faults.append(f"{name} and {other} land on the same layer")
    if lost:
        faults.append(
            f"{len(lost)} of {len(header)} tensors land nowhere in this model: {some(lost)}"
        )
    if not header:
        faults.append("it holds no tensors")
    targets = []
    for (component, module), roles in sorted(found.items(), key=lambda item: item[0]):
        if fault := _incomplete(roles, header):
            faults.append(fault)
        else:
            down, up = roles["down"], roles["up"]
            rank = header[down].shape[0]
            targets.append(AdapterTarget(component, module, down, up, roles.get("alpha"), rank))
    return targets, faults


def _spellings(module_names: Mapping[str, frozenset[str]]) -> dict[tuple[Component, str], str]:
    """Every way a file may spell a layer of the model, to the layer's own name."""
    spellings: dict[tuple[Component, str], str] = {}
    for component in _COMPONENTS:
        for module in module_names.get(component, frozenset()):
            # transformers 5 dropped the leading text_model., files on disk may have it or not
            bare = module.removeprefix("text_model.")
            for name in {module, bare, f"text_model.{bare}"}:
                spellings[component, name] = module
                spellings[component, name.replace(".", "_")] = module
    for name, module in sgm_names(module_names.get("unet", frozenset())).items():
        spellings["unet", name.replace(".", "_")] = module
    return spellings


def _place(
    name: str, spellings: Mapping[tuple[Component, str], str]
) -> tuple[Role, tuple[Component, str]] | None:
    """A tensor's role and the layer it belongs to; None for what is not understood."""
    ending, role = next((pair for pair in _ENDINGS if name.endswith(pair[0])), (None, None))
    if ending is None or role is None:
        return None
    stem = name.removesuffix(ending)
    for prefix, component in _PREFIXES:
        if stem.startswith(prefix):
            path = stem.removeprefix(prefix)
            if prefix.endswith("."):
                path = _dotted(path, component, old=ending.startswith("_lora"))
            module = spellings.get((component, path))
            return (role, (component, module)) if module else None
    return None


def _dotted(path: str, component: Component, *, old: bool) -> str:
    path = path.replace(".processor.", ".")
    if not old:
        return path
    head, _, layer = path.rpartition(".")
    renamed = _OLD_UNET_LAYERS if component == "unet" else _OLD_TEXT_LAYERS
    return f"{head}.{renamed.get(layer, layer)}"


def _incomplete(roles: Mapping[Role, str], header: Mapping[str, TensorHeader]) -> str | None:
    if missing := {"down", "up"} - set(roles):
        return f"{next(iter(roles.values()))} has no {' and no '.join(sorted(missing))} partner"
    down, up = header[roles["down"]].shape, header[roles["up"]].shape
    if len(down) < 2 or len(up) < 2 or down[0] != up[1] or down[0] == 0:
        return f"{roles['down']} {list(down)} and {roles['up']} {list(up)} do not share a rank"
    if "alpha" in roles and header[roles["alpha"]].shape not in ((), (1,)):
        return f"{roles['alpha']} is not a single number"
    return None


def _layers(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        header = read_header(file)
    except InvalidAdapter as error:
        raise InvalidModel(str(error)) from None
    return {
        name.removesuffix(".weight"): tensor.shape
        for name, tensor in header.items()
        if name.endswith(".weight")
        and len(tensor.shape) in (2, 4)
        and not name.endswith("_embedding.weight")  # tables of vectors, not layers
    }


def _refuse_variants(said: Mapping[str, object]) -> None:
    for component in _COMPONENTS:
        for variant in ("use_dora", "use_rslora"):
            if said.get(f"{component}.{variant}"):
                raise ValueError(f"{component}.{variant} is not supported; train a plain LoRA")


def _declared_alpha(said: Mapping[str, object], target: AdapterTarget) -> float | None:
    alpha = said.get(f"{target.component}.lora_alpha")
    pattern = said.get(f"{target.component}.alpha_pattern") or {}
    if not isinstance(pattern, dict):
        raise TypeError(f"{target.component}.alpha_pattern is not a table")
    for name, value in pattern.items():
        if target.module == name or target.module.endswith(f".{name}"):
            alpha = value
            break
    if alpha is None:
        return None
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not np.isfinite(alpha):
        raise ValueError(f"alpha {alpha!r} of {target.module} is not a number")
    return float(alpha)


def some(names: Sequence[str]) -> str:
    """The first few of many names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f", and {more} more" if more > 0 else "")
