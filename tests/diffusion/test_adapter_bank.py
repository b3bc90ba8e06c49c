"""AdapterBank: what it adds per row, and what it keeps where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import use
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from imagegen.diffusion.adapters import AdapterBank
from imagegen.errors import InvalidAdapter, RenderFailed
from imagegen.generation import AdapterUse

pytestmark = pytest.mark.torch


class Net(nn.Module):
    """One of each kind of layer a LoRA may change, and one it may not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(5, 6)
        self.point = nn.Conv2d(4, 3, 1)
        self.strided = nn.Conv2d(4, 3, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(5)
        self.requires_grad_(requires_grad=False)


SHAPES = {"linear": ((5,), 6), "point": ((4, 1, 1), 3), "strided": ((4, 3, 3), 3)}
Tensors = dict[str, torch.Tensor]


def tensors_of(seed: int, rank: int, *layers: str) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in layers or SHAPES:
        inputs, outputs = SHAPES[layer]
        kernel = (1,) * (len(inputs) - 1)
        down = torch.randn(rank, *inputs, generator=generator)
        up = torch.randn(outputs, rank, *kernel, generator=generator)
        tensors[f"unet.{layer}.lora_A.weight"], tensors[f"unet.{layer}.lora_B.weight"] = down, up
    return tensors


def saved(path: Path, tensors: Tensors, weight: float = 1.0) -> AdapterUse:
    save_file(tensors, path)
    return use(path, weight)


def merged(layer: nn.Module, tensors: Tensors, name: str, scale: float) -> torch.Tensor:
    """The layer's weight with the LoRA written into it, as fusing would."""
    down = tensors[f"unet.{name}.lora_A.weight"]
    up = tensors[f"unet.{name}.lora_B.weight"]
    change = up.flatten(1) @ down.flatten(1)
    return layer.weight + scale * change.view_as(layer.weight)


@pytest.mark.parametrize("channels_last", [False, True])
def test_each_row_gets_its_own_lora(tmp_path: Path, channels_last: bool) -> None:
    net = Net()
    one, two = tensors_of(1, 2), tensors_of(2, 7)
    adapters = [saved(tmp_path / "1.safetensors", one), saved(tmp_path / "2.safetensors", two)]
    bank = AdapterBank({"unet": net}, [(each,) for each in adapters], 2)
    weak = AdapterUse(adapters[1].path, adapters[1].sha256, -0.5)
    bank.select([(adapters[0],), (), (weak,)])
    flat, tokens, image = torch.randn(3, 5), torch.randn(3, 9, 5), torch.randn(3, 4, 6, 8)
    if channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    wanted = [(one, 1.0), (one, 0.0), (two, -0.5)]
    for name, inputs in (
        ("linear", flat), ("linear", tokens), ("point", image), ("strided", image),
    ):  # fmt: skip
        layer = getattr(net, name)
        drawn = layer(inputs)
        for row, (tensors, scale) in enumerate(wanted):
            fused = Net()
            getattr(fused, name).weight.copy_(merged(layer, tensors, name, scale))
            assert torch.allclose(
                drawn[row : row + 1], getattr(fused, name)(inputs[row : row + 1]), atol=1e-4
            )


@pytest.mark.parametrize(("sizes", "alpha"), [((0.05, 1e-3), 1.0), ((1.0, 1e-5), 64.0)])
def test_a_weak_lora_keeps_its_digits_in_half_precision(
    tmp_path: Path, sizes: tuple[float, float], alpha: float
) -> None:
    """kohya's alpha 1 at rank 128, folded into small numbers, would fall below fp16's own."""
    net = Net().half()
    tensors = tensors_of(1, 128, "linear")
    down, up = (size * tensor for size, tensor in zip(sizes, tensors.values(), strict=True))
    named = {
        "lora_unet_linear.lora_down.weight": down, "lora_unet_linear.lora_up.weight": up,
        "lora_unet_linear.alpha": torch.tensor(alpha),
    }  # fmt: skip
    adapter = saved(tmp_path / "1.safetensors", named)
    bank = AdapterBank({"unet": net}, [(adapter,)], 1)
    bank.select([(adapter,)])
    [layer] = bank._layers.values()
    a, b = layer._split(layer._stack[1:].double())
    exact = alpha / 128 * (up.double() @ down.double())
    assert (b[0] @ a[0] - exact).norm() / exact.norm() < 5e-4, "no worse than fp16 rounds"


def test_a_row_without_lora_is_untouched_to_the_bit(tmp_path: Path) -> None:
    net, plain = Net(), Net()
    adapter = saved(tmp_path / "1.safetensors", tensors_of(1, 2))
    bank = AdapterBank({"unet": net}, [(adapter,)], 1)
    inputs = torch.randn(2, 5)
    bank.select([(adapter,), (adapter,)])
    assert not torch.equal(net.linear(inputs), plain.linear(inputs))
    bank.select([(), ()])
    assert torch.equal(net.linear(inputs), plain.linear(inputs))


def test_layers_no_lora_changes_cost_nothing(tmp_path: Path) -> None:
    net = Net()
    AdapterBank({"unet": net}, [(saved(tmp_path / "1.safetensors", tensors_of(1, 2, "point")),)], 1)
    hooked = [name for name, module in net.named_modules() if module._forward_hooks]
    assert hooked == ["point"]
    bare = Net()
    AdapterBank({"unet": bare}, [], 1).select([()])
    assert not any(module._forward_hooks for module in bare.modules())


def test_a_refilled_slot_forgets_its_last_tenant(tmp_path: Path) -> None:
    """The second LoRA has a smaller rank and leaves out a layer of the first."""
    net, plain = Net(), Net()
    first = saved(tmp_path / "1.safetensors", tensors_of(1, 8))
    small = tensors_of(2, 2, "linear")
    second = saved(tmp_path / "2.safetensors", small)
    bank = AdapterBank({"unet": net}, [(first,), (second,)], capacity=1)
    image, inputs = torch.randn(1, 4, 6, 8), torch.randn(1, 5)
    bank.select([(first,)])
    bank.select([(second,)])
    assert torch.equal(net.strided(image), plain.strided(image))
    plain.linear.weight.copy_(merged(plain.linear, small, "linear", 1.0))
    assert torch.allclose(net.linear(inputs), plain.linear(inputs), atol=1e-5)


def test_the_least_recently_used_brand_leaves_first(tmp_path: Path) -> None:
    brands = [(saved(tmp_path / f"{seed}.safetensors", tensors_of(seed, 2)),) for seed in range(4)]
    bank = AdapterBank({"unet": Net()}, brands, capacity=3)
    for brand in (0, 1, 2, 0, 3):
        bank.select([brands[brand]])
    resident = [mix[0][0] for mix in bank._resident]
    assert resident == [brands[brand][0].sha256 for brand in (2, 0, 3)]


def test_a_step_keeps_the_brands_it_needs_whatever_their_age(tmp_path: Path) -> None:
    brands = [(saved(tmp_path / f"{seed}.safetensors", tensors_of(seed, 2)),) for seed in range(3)]
    bank = AdapterBank({"unet": Net()}, brands, capacity=2)
    for brand in (0, 1):
        bank.select([brands[brand]])
    bank.select([brands[2], brands[0]])
    assert {mix[0][0] for mix in bank._resident} == {brands[0][0].sha256, brands[2][0].sha256}
    with pytest.raises(MemoryError):
        bank.select(brands)


def test_slots_take_a_quarter_of_what_the_device_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = saved(tmp_path / "narrow.safetensors", tensors_of(1, 2, "linear"))
    wide = saved(tmp_path / "wide.safetensors", tensors_of(2, 8, "linear"))
    slot_bytes = 4 * 8 * (5 + 6)
    for slots, capacity in ((4, 3), (3.9, 2), (2, 1), (100, 5)):
        monkeypatch.setattr(
            "imagegen.diffusion.adapters.free_bytes", lambda _, slots=slots: 4 * slots * slot_bytes
        )
        bank = AdapterBank({"unet": Net()}, [(narrow,), (wide,)], capacity=5)
        assert bank.capacity == capacity
        bank.select([(narrow,)])
        bank.select([(wide,)])
        [layer] = bank._layers.values()
        assert layer._stack.shape == (1 + capacity, slot_bytes // 4)
    monkeypatch.setattr("imagegen.diffusion.adapters.free_bytes", lambda _: 7.9 * slot_bytes)
    with pytest.raises(InvalidAdapter, match=r"wide\.safetensors is too large"):
        AdapterBank({"unet": Net()}, [(narrow,), (wide,)], capacity=5)
    assert AdapterBank({"unet": Net()}, [], capacity=1).capacity == 1


def test_loras_of_one_brand_share_a_slot_at_any_strength(tmp_path: Path) -> None:
    net, plain = Net(), Net()
    one, two = tensors_of(1, 2), tensors_of(2, 3, "linear")
    first = saved(tmp_path / "1.safetensors", one, 0.6)
    second = saved(tmp_path / "2.safetensors", two, 0.2)
    bank = AdapterBank({"unet": net}, [(first, second)], capacity=1)
    inputs = torch.randn(1, 5)
    for strength in (1.0, 0.3):
        mix = tuple(
            AdapterUse(each.path, each.sha256, each.weight * strength) for each in (first, second)
        )
        bank.select([mix])
        weight = merged(plain.linear, one, "linear", 0.6 * strength)
        weight = weight + merged(plain.linear, two, "linear", 0.2 * strength) - plain.linear.weight
        fused = nn.functional.linear(inputs, weight, plain.linear.bias)
        assert torch.allclose(net.linear(inputs), fused, atol=1e-4)
    assert len(bank._resident) == 1


def test_a_mix_that_no_brand_has_is_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    one, two = tensors_of(1, 2), tensors_of(2, 3, "linear")
    first = saved(tmp_path / "1.safetensors", one)
    second = saved(tmp_path / "2.safetensors", two)
    net, plain = Net(), Net()
    bank = AdapterBank({"unet": net}, [(first,), (second,)], capacity=1)
    with pytest.raises(RenderFailed, match=r"1\.safetensors and 2\.safetensors were not together"):
        bank.select([(first, second)])
    bank.select([(second,)])
    inputs = torch.randn(1, 5)
    fused = nn.functional.linear(
        inputs, merged(plain.linear, two, "linear", 1.0), plain.linear.bias
    )
    assert torch.allclose(net.linear(inputs), fused, atol=1e-4)


class FailsAtCopy(TorchDispatchMode):
    """Raises in the middle of what is written: at the n-th copy into existing memory."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.copy_.default:
            self.left -= 1
            if self.left == 0:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("at", range(1, 7))
def test_a_slot_that_was_half_written_is_not_lost_and_not_read(tmp_path: Path, at: int) -> None:
    net, plain = Net(), Net()
    large = saved(tmp_path / "1.safetensors", tensors_of(1, 8))
    small = tensors_of(2, 2, "linear")
    second = saved(tmp_path / "2.safetensors", small)
    bank = AdapterBank({"unet": net}, [(large,), (second,)], capacity=1)
    with FailsAtCopy(at), pytest.raises(MemoryError):
        bank.select([(large,)])
    bank.select([(second,)])
    inputs, image = torch.randn(1, 5), torch.randn(1, 4, 6, 8)
    assert torch.equal(net.strided(image), plain.strided(image))
    fused = nn.functional.linear(
        inputs, merged(plain.linear, small, "linear", 1.0), plain.linear.bias
    )
    assert torch.allclose(net.linear(inputs), fused, atol=1e-5)


def test_the_slot_a_brand_is_in_does_not_change_a_bit(tmp_path: Path) -> None:
    brands = [(saved(tmp_path / f"{seed}.safetensors", tensors_of(seed, 3)),) for seed in range(3)]
    inputs, image = torch.randn(2, 9, 5), torch.randn(2, 4, 6, 8)
    drawn = []
    for order in ([0, 1, 2], [2, 1, 0]):
        net = Net()
        bank = AdapterBank({"unet": net}, brands, capacity=3)
        for brand in order:
            bank.select([brands[brand]])
        bank.select([brands[2], brands[2]])
        drawn.append([net.linear(inputs), net.point(image), net.strided(image)])
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


def test_layers_that_no_row_changes_are_left_alone(tmp_path: Path) -> None:
    """Another brand's convolutions cost a picture nothing that does not stand beside it."""
    net = Net()
    words = saved(tmp_path / "1.safetensors", tensors_of(1, 2, "linear"))
    shapes = saved(tmp_path / "2.safetensors", tensors_of(2, 2, "strided"))
    bank = AdapterBank({"unet": net}, [(words,), (shapes,)], capacity=2)
    for rows, active in (
        ([(words,), ()], {"linear"}),
        ([(words,), (shapes,)], {"linear", "strided"}),
        ([(), ()], set()),
    ):
        bank.select(rows)
        assert {path for (_, path), layer in bank._layers.items() if layer.active} == active


def test_how_a_text_is_read_depends_on_nothing_else(tmp_path: Path) -> None:
    tensors = tensors_of(1, 2, "linear")
    words = saved(
        tmp_path / "1.safetensors",
        {name.replace("unet.", "text_encoder."): tensor for name, tensor in tensors.items()},
    )
    picture = saved(tmp_path / "2.safetensors", tensors_of(2, 2))
    brands = [(words, picture), (picture,)]
    bank = AdapterBank({"unet": Net(), "text_encoder": Net()}, brands, capacity=2)
    weak = replace(words, weight=0.5)
    nothing = bank.reading(())
    assert bank.reading((picture,)) == bank.reading((replace(picture, weight=0.2),)) == nothing
    assert bank.reading((replace(words, weight=0.0), picture)) == nothing
    assert len({bank.reading((words,)), bank.reading((weak,)), nothing}) == 3
