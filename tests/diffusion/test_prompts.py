"""PromptReader: what is kept equals what would be read again, and room is bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import draw, lora_tensors, make_spec, use

from imagegen.diffusion.prompts import PromptReader
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.errors import RenderFailed
from imagegen.generation import AdapterUse

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> AdapterUse:
    """A LoRA that changes how pictures look and not how texts are read."""
    path = tmp_path_factory.mktemp("blind") / "blind.safetensors"
    tensors = {}
    for name, (down, up) in lora_tensors(seed=9, rank=4).items():
        if name.startswith("unet."):
            tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = down, up
    save_file(tensors, path)
    return use(path)


@pytest.fixture(scope="module")
def renderer(
    model_folder: Callable[..., Path], loras: dict[str, AdapterUse], blind: AdapterUse
) -> DiffusersRenderer:
    brands = [(loras["aurora"], blind), loras["botanical"], blind]
    renderer = DiffusersRenderer(str(model_folder()), brands, "cpu", "float32")
    renderer.load(lambda _: None)
    return renderer


@pytest.fixture
def reader(renderer: DiffusersRenderer) -> PromptReader:
    """An empty one, also in the renderer's own hands."""
    renderer._prompts = PromptReader(renderer._family, renderer._bank)
    return renderer._prompts


def counted(reader: PromptReader) -> tuple[int, int]:
    return reader.hits, reader.misses


def test_a_text_is_read_once_under_each_brand(
    reader: PromptReader, loras: dict[str, AdapterUse], blind: AdapterUse
) -> None:
    aurora = loras["aurora"]
    ways = [(), (aurora,), (replace(aurora, weight=0.5),), (loras["botanical"],)]
    with torch.inference_mode():
        first = [reader.read("a red mug", way) for way in ways]
        assert counted(reader) == (0, 4)
        again = [reader.read("a red mug", way) for way in ways]
        assert counted(reader) == (4, 4)
        assert all(one is other for one, other in zip(first, again, strict=True))
        assert len({prompt.encoded.states.sum().item() for prompt in first}) == 4
        # what changes only how pictures look is no other way of reading
        assert reader.read("a red mug", (blind,)) is first[0]
        assert reader.read("a red mug", (replace(blind, weight=0.1),)) is first[0]
        assert reader.read("a red mug", (aurora, blind)) is first[1]
        assert counted(reader) == (7, 4)


def test_what_is_kept_equals_what_is_read_anew(
    renderer: DiffusersRenderer, reader: PromptReader, loras: dict[str, AdapterUse]
) -> None:
    spec = make_spec(adapters=(loras["aurora"],), prompt="a blue lamp", num_inference_steps=2)
    [anew] = draw(renderer, spec)
    assert counted(reader) == (0, 2)
    draw(renderer, replace(spec, adapters=(loras["botanical"],)))
    assert draw(renderer, spec) == [anew]
    assert counted(reader) == (2, 4)
    assert draw(renderer, replace(spec, guidance_scale=1.0)) != [anew]
    assert counted(reader) == (3, 4), "without guidance the negative prompt is not read"


def test_the_least_recently_used_text_makes_room(renderer: DiffusersRenderer) -> None:
    with torch.inference_mode():
        one_text = PromptReader(renderer._family, renderer._bank).read("a", ()).size_bytes
        reader = PromptReader(renderer._family, renderer._bank, max_bytes=2 * one_text)
        for text in ("a", "b", "a", "c"):
            reader.read(text, ())
        assert reader.size_bytes == 2 * one_text
        assert counted(reader) == (1, 3)
        reader.read("a", ())
        reader.read("b", ())
        assert counted(reader) == (2, 4)


def test_a_text_that_could_not_be_read_is_not_kept(
    renderer: DiffusersRenderer, reader: PromptReader, loras: dict[str, AdapterUse]
) -> None:
    def overflow(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = renderer._family.components["text_encoder"].register_forward_pre_hook(overflow)
    with pytest.raises(MemoryError):
        renderer.begin(make_spec())
    handle.remove()
    with pytest.raises(RenderFailed, match=r"pop\.safetensors"):
        reader.read("a red mug", (loras["pop"],))
    assert counted(reader) == (0, 0)
    assert reader.size_bytes == 0
    renderer.begin(make_spec())
    assert counted(reader) == (0, 2)
