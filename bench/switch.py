"""switch: from one brand to the next, against naive's load + set + unload, at SD 1.5's size.

Random weights of SD 1.5's shape in fp16, made on the spot, and two LoRAs of rank 8 on the UNet's
attention layers. Nothing is denoised: what is timed is what a change of brand costs. Naive: load
the file, set the adapter, unload it, on a pipeline of its own. Ours, twice: the brand was resident
in a slot; and with a single slot, so that every switch writes the LoRA into it. After a thousand
such writes every base weight must be the same, bit by bit.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from bench.pairs import Comparison, Goal, Options, Side, in_turn, run_benchmark
from bench.shapes import SD15, TINY_SD, make_lora, make_model
from imagegen.diffusion.adapters import AdapterBank
from imagegen.diffusion.families import load_family
from imagegen.generation import AdapterUse

NAIVE_SWITCHES, OUR_SWITCHES = 4, 200  # a run
SWITCHES = 1_000  # after which the base weights are compared


def measure(options: Options) -> Iterator[Comparison]:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shape = TINY_SD if options.smoke else SD15
        model = make_model(shape, folder / "model", torch.float16)
        files = [make_lora(model, folder / f"{n}.safetensors", seed=n) for n in (1, 2)]
        uses = [AdapterUse(file, _sha256(file), 1.0) for file in files]
        naive = naive_side(model, files)
        for what, slots in (("LoRA written into a slot", 1), ("LoRA resident", 2)):
            ours, check = our_side(model, uses, slots)
            pairs = in_turn(naive, ours, options.pairs)
            goals = (Goal("ratio", ">=", 50),)
            yield Comparison(what, "switches/s", "naive", "imagegen", pairs, goals, check())


def base_weights(components: Mapping[str, nn.Module]) -> str:
    """SHA-256 of all weights that no switch may touch."""
    digest = hashlib.sha256()
    for _, module in sorted(components.items()):
        for weight in module.state_dict().values():
            digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def naive_side(model: Path, files: Sequence[Path]) -> Side:
    pipe: Any = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float16)

    def switch(file: Path) -> None:
        pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name="lora")
        pipe.set_adapters("lora")
        pipe.unload_lora_weights()

    return _rate(switch, files, NAIVE_SWITCHES)


def our_side(model: Path, uses: Sequence[AdapterUse], slots: int) -> tuple[Side, Callable[[], str]]:
    """The side, and what says that a thousand switches left the base weights alone."""
    family = load_family(model, torch.device("cpu"), torch.float16)
    before = base_weights(family.components)
    bank = AdapterBank(family.components, [(use,) for use in uses], slots)

    def switch(use: AdapterUse) -> None:
        bank.select([(use,)])

    def check() -> str:
        for use in islice(cycle(uses), SWITCHES):
            switch(use)
        if base_weights(family.components) != before:
            raise AssertionError(f"{SWITCHES} switches changed the base weights")
        return f"base weights bit-identical after {SWITCHES:,} switches"

    return _rate(switch, uses, OUR_SWITCHES), check


def _rate(switch: Callable[[Any], None], brands: Sequence[Any], count: int) -> Side:
    def run() -> float:
        began = time.perf_counter()
        for brand in islice(cycle(brands), count):
            switch(brand)
        return count / (time.perf_counter() - began)

    return run


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(run_benchmark("switch", __doc__, measure))
