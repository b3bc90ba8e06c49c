"""AdapterBank: LoRAs resident in slots, one slot index per row of the batch.

A slot holds one set of LoRAs: the matrices of all layers that any brand changes, side by side in
one row of memory, padded to the largest rank that a brand has there; slot 0 is "none". A forward
pass gathers each row's slot and adds `scale[row] * B[slot] @ A[slot] @ x` (Hu et al. 2021,
arXiv:2106.09685). Base weights are never written, and every call names the slots of all its rows,
so nothing leaks from one to the next. Shapes never change after the start: neither does a picture's
last bit, nor what torch.compile has made of the denoiser.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from imagegen.diffusion.adapted_layer import AdaptedLayer, SelectedRows
from imagegen.diffusion.device import fitting, free_bytes
from imagegen.diffusion.parsed_adapter import Layer, LowRank, parse_adapter
from imagegen.errors import InvalidAdapter, RenderFailed
from imagegen.generation import AdapterUse

SHARE_OF_FREE = 1 / 4  # of the device's memory once the model is there: pictures need the rest

Mix = tuple[tuple[str, float], ...]  # the LoRAs of one slot: SHA-256 and relative weight of each


class AdapterBank:
    """All brands' LoRAs: parsed copies in RAM, as many as `capacity` mixes resident in slots."""

    def __init__(
        self,
        components: Mapping[str, nn.Module],
        brands: Sequence[tuple[AdapterUse, ...]],
        capacity: int,
    ) -> None:
        """brands: the LoRAs that will share a slot, per brand; capacity: slots besides "none".

        Fewer slots where a device's memory is short. Raises InvalidAdapter, naming the file, for a
        LoRA that does not fit or changes nothing.
        """
        modules = {
            (component, path): module
            for component, model in components.items()
            for path, module in model.named_modules()
        }
        uses = {use.sha256: use for brand in brands for use in brand}
        with ThreadPoolExecutor(thread_name_prefix="adapters") as pool:  # reading and hashing
            parsed = pool.map(lambda use: parse_adapter(use, modules), uses.values())
            self._parsed = dict(zip(uses, parsed, strict=True))
        weight = next(components["unet"].parameters())
        self._rows = SelectedRows(weight)
        self._layers = self._adapt(modules, brands)
        self.capacity = capacity = self._affordable(capacity, weight)
        self._reserve(1 + capacity, weight)
        self._resident: OrderedDict[Mix, int] = OrderedDict()  # least recently used first
        self._free = list(range(capacity, 0, -1))
        self.heaviest = max(brands, key=self._numbers, default=())

    def select(self, rows: Sequence[tuple[AdapterUse, ...]]) -> None:
        """Sets the LoRAs of every row of the next forward passes; no LoRA for an empty tuple.

        Raises MemoryError when the rows need more different slots than there are, and RenderFailed
        for LoRAs that no brand had at the start. After an exception, select again before the next
        forward pass.
        """
        mixes = [self._mix(uses) for uses in rows]
        wanted = {mix for mix, _ in mixes if mix}
        if len(wanted) > self.capacity:
            raise MemoryError(f"{len(wanted)} brands in one step, {self.capacity} slots")
        slots = [self._slot(mix, wanted) for mix, _ in mixes]
        self._rows.select(slots, [scale for _, scale in mixes])
        used = set(slots)
        for layer in self._layers.values():
            layer.active = not layer.tenants.isdisjoint(used)

    def active(self, component: str) -> tuple[bool, ...]:
        """Of the component's layers that any brand changes, those that a selected row changes."""
        layers = self._layers.items()
        return tuple(layer.active for (part, _), layer in layers if part == component)

    def reading(self, uses: tuple[AdapterUse, ...]) -> tuple[Mix, float]:
        """What of `uses` decides how a text is read: equal answers, equal embeddings."""
        mix, scale = self._mix(uses)
        readers = tuple(part for part in mix if self._parsed[part[0]].changes_words)
        return (readers, scale) if readers else ((), 0.0)

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

    def _numbers(self, uses: tuple[AdapterUse, ...]) -> int:
        """How many numbers the LoRAs of a brand have."""
        return sum(self._parsed[use.sha256].size for use in uses)

    def _slot(self, mix: Mix, wanted: set[Mix]) -> int:
        if not mix:
            return 0
        slot = self._resident.pop(mix, None)
        if slot is None:
            slot = self._refill(mix, wanted)
        self._resident[mix] = slot
        return slot

    def _refill(self, mix: Mix, wanted: set[Mix]) -> int:
        """A slot that holds `mix`; taken from the least recently used where none is free."""
        parts = self._parts(mix)
        if not self._free:
            oldest = next(mix for mix in self._resident if mix not in wanted)
            self._free.append(self._resident.pop(oldest))
        fitting(lambda: self._write(self._free[-1], parts))  # free until it is wholly written
        return self._free.pop()

    def _parts(self, mix: Mix) -> dict[Layer, list[tuple[LowRank, float]]]:
        """Per layer, what a slot with that mix holds. Raises RenderFailed where it does not fit."""
        parts: dict[Layer, list[tuple[LowRank, float]]] = {}
        for sha256, weight in mix:
            for place, change in self._parsed[sha256].layers.items():
                parts.setdefault(place, []).append((change, weight))
        for place, changes in parts.items():
            if sum(change.rank for change, _ in changes) > self._layers[place].rank:
                names = " and ".join(self._parsed[sha256].path.name for sha256, _ in mix)
                raise RenderFailed(f"{names} were not together in a brand at the start; restart")
        return parts

    @torch.inference_mode()
    def _write(self, slot: int, parts: Mapping[Layer, list[tuple[LowRank, float]]]) -> None:
        for place, layer in self._layers.items():
            layer.write(slot, parts.get(place, []))

    def _adapt(
        self, modules: Mapping[Layer, nn.Module], brands: Sequence[tuple[AdapterUse, ...]]
    ) -> dict[Layer, AdaptedLayer]:
        """Hooks on the layers that any LoRA changes; all others cost nothing."""
        widest: dict[Layer, int] = {}
        for brand in brands:
            ranks: Counter[Layer] = Counter()
            for use in brand:
                changes = self._parsed[use.sha256].layers
                ranks.update({place: change.rank for place, change in changes.items()})
            widest |= {place: max(rank, widest.get(place, 0)) for place, rank in ranks.items()}
        layers = {}
        for place, rank in widest.items():
            module = modules[place]
            assert isinstance(module, nn.Linear | nn.Conv2d), "parse_adapter refuses others"
            layers[place] = AdaptedLayer(module, rank, self._rows)
        return layers

    def _affordable(self, capacity: int, like: Tensor) -> int:
        """As many slots as the device has memory for, at most `capacity`."""
        slot_bytes = sum(layer.size for layer in self._layers.values()) * like.element_size()
        room_bytes = SHARE_OF_FREE * free_bytes(like.device)
        if (1 + capacity) * slot_bytes <= room_bytes:
            return capacity
        slots = int(room_bytes / slot_bytes)
        if slots < 2:
            widest = max(self._parsed.values(), key=lambda parsed: parsed.size).path
            raise InvalidAdapter(
                f"{widest} is too large: a LoRA of its ranks takes {2 * slot_bytes >> 20} MiB of"
                f" the device, which spares {int(room_bytes) >> 20} MiB for LoRAs"
            )
        return slots - 1

    @torch.inference_mode()
    def _reserve(self, slots: int, like: Tensor) -> None:
        """One piece of memory for all slots, a column range of it for each layer."""
        sizes = [layer.size for layer in self._layers.values()]
        memory = like.new_zeros(slots, sum(sizes), requires_grad=False)
        stacks = torch.split(memory, sizes, dim=1) if sizes else ()
        for layer, stack in zip(self._layers.values(), stacks, strict=True):
            layer.use(stack)
