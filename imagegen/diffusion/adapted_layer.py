"""AdaptedLayer: one layer of the model, and what each row's LoRA adds to its output."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.diffusion.device import send
from imagegen.diffusion.parsed_adapter import LowRank


class SelectedRows:
    """Which slot and scale each row of the next forward pass has; shared by all layers.

    As many rows have the same memory for ever: a CUDA graph that was captured with it finds there
    what was selected last.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._of: dict[int, tuple[Tensor, Tensor]] = {}  # slots and scales, by the number of rows
        self.select([0], [0.0])

    @torch.inference_mode()
    def select(self, slots: list[int], scales: list[float]) -> None:
        new = torch.tensor(slots), torch.tensor(scales, dtype=self._like.dtype)  # [rows] each
        if len(slots) not in self._of:
            first, second = (torch.empty_like(each, device=self._like.device) for each in new)
            self._of[len(slots)] = first, second
        self.slots, self.scales = self._of[len(slots)]
        for place, values in zip((self.slots, self.scales), new, strict=True):
            place.copy_(send(values, self._like.device))


class AdaptedLayer:
    """A forward hook on one Linear or Conv2d: adds each row's LoRA to the layer's output."""

    def __init__(self, module: nn.Linear | nn.Conv2d, rank: int, rows: SelectedRows) -> None:
        self.rank, self._rows = rank, rows
        self._inputs = tuple(module.weight.shape[1:])  # [in] or [in, kernel, kernel]
        self._outputs = module.weight.shape[0]
        self._down_size = rank * math.prod(self._inputs)
        self.size = self._down_size + self._outputs * rank  # numbers of a slot
        self.tenants: set[int] = set()  # slots that are not all zero here
        self.active = False  # whether a row of the next forward pass has such a slot
        self._stack: Tensor
        hook = self._change_linear if isinstance(module, nn.Linear) else self._change_conv
        module.register_forward_hook(hook)

    def use(self, stack: Tensor) -> None:
        """stack: [slots, size], all zero, this layer's own part of the bank's memory."""
        self._stack = stack

    def write(self, slot: int, parts: Sequence[tuple[LowRank, float]]) -> None:
        """Fills one slot; several LoRAs lie side by side along the rank, each with its weight.

        Left half done by an exception, the slot may be written again, not read.
        """
        if sum(part.rank for part, _ in parts) < self.rank and slot in self.tenants:
            self._stack[slot].zero_()
            self.tenants.discard(slot)
        if parts:
            self.tenants.add(slot)
        down, up = self._split(self._stack[slot : slot + 1])
        start = 0
        for part, weight in parts:
            ranks = slice(start, start := start + part.rank)
            down[0, ranks].copy_(_tap_by_tap(part.down).flatten(1).float() * part.balance)
            up[0, :, ranks].copy_(part.up.float() * (part.strength / part.balance * weight))

    def _split(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """[rows, size] to A [rows, rank, in · kernel · kernel] and B [rows, out, rank]."""
        rows = slots.shape[0]
        down, up = slots[:, : self._down_size], slots[:, self._down_size :]
        return down.view(rows, self.rank, -1), up.view(rows, self._outputs, self.rank)

    @property
    def _idle(self) -> bool:
        """Compiled code must not depend on who is in the batch: adding nothing changes nothing."""
        return not torch.compiler.is_compiling() and not self.active

    def _gathered(self, positions: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """A and B of each row, and the scale where it is cheaper to multiply A x by it than B."""
        down, up = self._split(self._stack.index_select(0, self._rows.slots))
        scale = self._rows.scales[:, None, None]
        if positions < self._outputs:
            return down, up, scale
        return down, up.mul_(scale), None

    def _change_linear(self, _: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        if self._idle:
            return output
        tokens = inputs[0].reshape(output.shape[0], -1, *self._inputs)
        down, up, scale = self._gathered(tokens.shape[1])
        low = torch.bmm(tokens, down.mT)
        if scale is not None:
            low.mul_(scale)
        # in place: the output is this layer's own, and a copy would cost as much as all of this
        output.view(*tokens.shape[:2], -1).baddbmm_(low, up.mT)
        return output

    def _change_conv(self, module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        if self._idle:
            return output
        height, width = output.shape[2:]
        down, up, scale = self._gathered(height * width)
        low = self._convolve(module, inputs[0], down).flatten(2)  # [rows, rank, height · width]
        if scale is not None:
            low.mul_(scale)
        tokens = _as_tokens(output).baddbmm_(low.mT, up.mT)
        return tokens.view(-1, height, width, self._outputs).permute(0, 3, 1, 2)

    def _convolve(self, module: nn.Conv2d, image: Tensor, down: Tensor) -> Tensor:
        """Each row's image with its own small kernels, [rows, rank, height, width].

        One product a tap of the kernel, all in one call for all rows, and the sum of the taps, each
        shifted to its place: grouped or one by one, convolutions to so few channels are slower.
        """
        rows, channels, height, width = image.shape
        assert not isinstance(module.padding, str), "diffusers' layers say it in numbers"
        (tall, wide), (above, left) = module.kernel_size, module.padding
        # [rows, rank · kernel · kernel, height · width]
        taps = torch.bmm(down.view(rows, -1, channels), _as_tokens(image).mT)
        size = height + 2 * above - tall + 1, width + 2 * left - wide + 1
        low = F.fold(taps, size, (tall, wide), padding=(tall - 1 - above, wide - 1 - left))
        return low[:, :, :: module.stride[0], :: module.stride[1]]


def _tap_by_tap(down: Tensor) -> Tensor:
    """[rank, in, kernel, kernel] to [rank, kernel, kernel, in], turned by half: for F.fold."""
    return down if down.dim() == 2 else down.flip(2, 3).permute(0, 2, 3, 1)


def _as_tokens(image: Tensor) -> Tensor:
    """[rows, channels, height, width] to [rows, height · width, channels], as it lies in memory."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)
