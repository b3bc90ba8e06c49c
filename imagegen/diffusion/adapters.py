"""AdapterBank: LoRAs resident in slots, one slot index per row of the batch.

On every layer that any LoRA targets, the bank keeps stacked A and B matrices, one slot per set of
LoRAs, padded to one rank; slot 0 is "none". A forward pass gathers each row's slot and adds
`scale[row] * B[slot] @ A[slot] @ x` (Hu et al. 2021, arXiv:2106.09685). Base weights are never
written, and every call names the slots of all its rows, so nothing leaks from one to the next.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.adapter_files.targets import declared_alphas, parse_targets, read_header
from imagegen.errors import InvalidAdapter, RenderFailed
from imagegen.generation import AdapterUse

Layer = tuple[str, str]  # component and dotted path, such as ("unet", "mid_block.….to_q")
Mix = tuple[tuple[str, float], ...]  # the LoRAs of one slot: SHA-256 and relative weight of each


@dataclass(frozen=True)
class ParsedAdapter:
    """One LoRA file in RAM: per layer A and B with alpha / rank folded into B."""

    down: dict[Layer, Tensor]  # [rank, in] or [rank, in, kernel, kernel]
    up: dict[Layer, Tensor]  # [out, rank]


@dataclass
class _Rows:
    """Which slot and scale each row of the next forward pass has; shared by all layers."""

    slots: Tensor  # [rows], int64
    scales: Tensor  # [rows], in the model's dtype


class AdaptedLayer:
    """A forward hook on one Linear or Conv2d: adds each row's LoRA to the layer's output."""

    def __init__(self, module: nn.Module, slots: int, rank: int, rows: _Rows) -> None:
        if not isinstance(module, nn.Linear | nn.Conv2d):
            raise InvalidAdapter(f"a LoRA cannot change a {type(module).__name__}")
        weight = module.weight
        self.shape = tuple(weight.shape)  # [out, in] or [out, in, kernel, kernel]
        self._module = module
        self._rows = rows
        self.down = weight.new_zeros(slots, rank, *weight.shape[1:], requires_grad=False)
        self.up = weight.new_zeros(slots, weight.shape[0], rank, requires_grad=False)
        hook = self._add_linear if isinstance(module, nn.Linear) else self._add_conv
        module.register_forward_hook(hook)

    @property
    def rank(self) -> int:
        return self.down.shape[1]

    def fill(self, slot: int, down: Tensor, up: Tensor) -> None:
        """Writes one slot: down [rank, in, …], up [out, rank].

        The stack grows to a rank that no brand had at the start. That may change the last bit of
        other pictures, so brands are best told to the bank whole.
        """
        rank = down.shape[0]
        if rank > self.rank:
            grow = rank - self.rank
            pad_down = self.down.new_zeros(self.down.shape[0], grow, *self.down.shape[2:])
            pad_up = self.up.new_zeros(*self.up.shape[:2], grow)
            self.down = torch.cat([self.down, pad_down], dim=1)
            self.up = torch.cat([self.up, pad_up], dim=2)
        self.clear(slot)
        self.down[slot, :rank] = down.to(self.down)
        self.up[slot, :, :rank] = up.to(self.up)

    def clear(self, slot: int) -> None:
        self.down[slot] = 0
        self.up[slot] = 0

    def _gathered(self) -> tuple[Tensor, Tensor]:
        up = self.up[self._rows.slots] * self._rows.scales[:, None, None]
        return self.down[self._rows.slots], up

    def _add_linear(self, _: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        down, up = self._gathered()
        tokens = inputs[0].reshape(down.shape[0], -1, down.shape[2])
        change = torch.bmm(torch.bmm(tokens, down.mT), up.mT)
        return output + change.view(output.shape)

    def _add_conv(self, module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        down, up = self._gathered()
        rows, channels, height, width = inputs[0].shape
        low = F.conv2d(  # each row has its own kernel: one group a row
            inputs[0].reshape(1, rows * channels, height, width),
            down.flatten(0, 1),
            None, module.stride, module.padding, module.dilation, groups=rows,
        )  # fmt: skip
        change = torch.bmm(up, low.view(rows, down.shape[1], -1))
        return output + change.view(output.shape)


class AdapterBank:
    """All brands' LoRAs: parsed copies in RAM, as many as `capacity` mixes resident in slots."""

    def __init__(
        self,
        components: Mapping[str, nn.Module],
        brands: Sequence[tuple[AdapterUse, ...]],
        capacity: int,
    ) -> None:
        """brands: the LoRAs that will share a slot, per brand; capacity: slots besides "none".

        Raises InvalidAdapter, naming the file, for a LoRA that does not fit or changes nothing.
        """
        self._modules = {
            (component, path): module
            for component, model in components.items()
            for path, module in model.named_modules()
        }
        names = {
            component: frozenset(path for part, path in self._modules if part == component)
            for component in components
        }
        weight = next(components["unet"].parameters())
        self._rows = _Rows(
            torch.zeros(1, dtype=torch.int64, device=weight.device),
            torch.zeros(1, dtype=weight.dtype, device=weight.device),
        )
        uses = {use.sha256: use for brand in brands for use in brand}
        self._parsed = {sha256: self._read(use, names) for sha256, use in uses.items()}
        self._layers = self._adapt(1 + capacity, brands)
        self._resident: OrderedDict[Mix, int] = OrderedDict()  # least recently used first
        self._free = list(range(capacity, 0, -1))
        self.capacity = capacity

    def select(self, rows: Sequence[tuple[AdapterUse, ...]]) -> None:
        """Sets the LoRAs of every row of the next forward passes; no LoRA for an empty tuple.

        Raises MemoryError when the rows need more different slots than there are, and RenderFailed
        for a LoRA that was not there at the start.
        """
        mixes = [self._mix(uses) for uses in rows]
        wanted = {mix for mix, _ in mixes if mix}
        if len(wanted) > self.capacity:
            raise MemoryError(f"{len(wanted)} brands in one step, {self.capacity} slots")
        slots = [self._slot(mix, wanted) for mix, _ in mixes]
        like = self._rows
        like.slots = torch.tensor(slots, device=like.slots.device)
        like.scales = torch.tensor([scale for _, scale in mixes]).to(like.scales)

    def _mix(self, uses: tuple[AdapterUse, ...]) -> tuple[Mix, float]:
        """What a slot holds and how strongly a row wants it: weights relative to the largest."""
        for use in uses:
            if use.sha256 not in self._parsed:
                raise RenderFailed(
                    f"adapter {use.path.name} was not among the presets' at the start; restart"
                )
        uses = tuple(use for use in uses if use.weight != 0)
        if not uses:
            return (), 0.0
        scale = max((use.weight for use in uses), key=abs)
        return tuple((use.sha256, round(use.weight / scale, 6)) for use in uses), scale

    def _slot(self, mix: Mix, wanted: set[Mix]) -> int:
        if not mix:
            return 0
        slot = self._resident.pop(mix, None)
        if slot is None:
            slot = self._free.pop() if self._free else self._evict(wanted)
            self._fill(slot, mix)
        self._resident[mix] = slot
        return slot

    def _evict(self, wanted: set[Mix]) -> int:
        mix = next(mix for mix in self._resident if mix not in wanted)
        return self._resident.pop(mix)

    @torch.inference_mode()
    def _fill(self, slot: int, mix: Mix) -> None:
        """Several LoRAs share a slot by lying side by side along the rank."""
        for place, layer in self._layers.items():
            parts = [
                (parsed.down[place], parsed.up[place] * weight)
                for sha256, weight in mix
                if place in (parsed := self._parsed[sha256]).down
            ]
            if parts:
                downs, ups = zip(*parts, strict=True)
                layer.fill(slot, torch.cat(downs, dim=0), torch.cat(ups, dim=1))
            else:
                layer.clear(slot)

    @torch.inference_mode()
    def _adapt(
        self, slots: int, brands: Sequence[tuple[AdapterUse, ...]]
    ) -> dict[Layer, AdaptedLayer]:
        """Hooks on the layers that any LoRA changes; all others cost nothing."""
        widest: dict[Layer, int] = {}
        for brand in brands:
            ranks: Counter[Layer] = Counter()
            for use in brand:
                downs = self._parsed[use.sha256].down
                ranks.update({place: down.shape[0] for place, down in downs.items()})
            widest |= {place: max(rank, widest.get(place, 0)) for place, rank in ranks.items()}
        return {
            place: AdaptedLayer(self._modules[place], slots, rank, self._rows)
            for place, rank in widest.items()
        }

    def _read(self, use: AdapterUse, names: Mapping[str, frozenset[str]]) -> ParsedAdapter:
        header = read_header(use.path)
        try:
            targets = parse_targets(header, names)
        except InvalidAdapter as error:
            raise InvalidAdapter(f"{use.path}: {error}") from None
        alphas = declared_alphas(use.path, targets)
        data = use.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != use.sha256.removeprefix("sha256:"):
            raise InvalidAdapter(f"{use.path} has changed since the presets were read; restart")
        tensors = safetensors.torch.load(data)
        parsed = ParsedAdapter({}, {})
        for target in targets:
            place = (target.component, target.module)
            alpha = float(tensors[target.alpha]) if target.alpha else alphas.get(target)
            strength = 1.0 if alpha is None else alpha / target.rank
            parsed.down[place] = tensors[target.down].float()
            parsed.up[place] = tensors[target.up].float().flatten(1) * strength
            self._check_shape(use, place, parsed)
        _check_effect(use, parsed)
        return parsed

    def _check_shape(self, use: AdapterUse, place: Layer, parsed: ParsedAdapter) -> None:
        module: Any = self._modules[place]
        if not isinstance(module, nn.Linear | nn.Conv2d):
            raise InvalidAdapter(f"{use.path}: {'.'.join(place)} is a {type(module).__name__}")
        down, up = parsed.down[place], parsed.up[place]
        if down.shape[1:] != module.weight.shape[1:] or up.shape[0] != module.weight.shape[0]:
            raise InvalidAdapter(
                f"{use.path} is for another architecture: {'.'.join(place)} has weights"
                f" {list(module.weight.shape)}, the LoRA {list(down.shape)} and {list(up.shape)}"
            )


def _check_effect(use: AdapterUse, parsed: ParsedAdapter) -> None:
    pairs = [(down, parsed.up[place]) for place, down in parsed.down.items()]
    if not all(bool(down.isfinite().all() and up.isfinite().all()) for down, up in pairs):
        raise InvalidAdapter(f"{use.path} holds values that are not finite numbers")
    if not any(bool(down.any() and up.any()) for down, up in pairs):
        raise InvalidAdapter(f"{use.path} changes nothing: its matrices are all zero")
