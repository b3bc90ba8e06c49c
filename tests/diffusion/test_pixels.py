"""What leaves the device: 8-bit pictures, the word that one is not finite, the linear look."""

from __future__ import annotations

import pytest
import torch

from imagegen.diffusion.pixels import fit_preview_map, look, seal, unseal

pytestmark = pytest.mark.torch


def test_levels_are_those_of_the_pipelines_image_processor() -> None:
    from diffusers.image_processor import VaeImageProcessor

    pixels = torch.linspace(-1.2, 1.2, 7 * 1001 * 3).view(7, 1001, 3)
    theirs = VaeImageProcessor().postprocess(pixels.permute(2, 0, 1)[None], output_type="pil")[0]
    assert unseal([seal(pixels)]) == [theirs.tobytes()]


def test_pictures_of_any_sizes_come_back_in_order() -> None:
    sizes = [(2, 3), (5, 4), (3, 2), (2, 3)]
    drawn = [torch.full((h, w, 3), i / 2 - 1) for i, (h, w) in enumerate(sizes)]
    levels = [0, 64, 128, 191]
    assert unseal([seal(each) for each in drawn]) == [
        bytes([level] * h * w * 3) for level, (h, w) in zip(levels, sizes, strict=True)
    ]
    assert unseal([]) == []


@pytest.mark.parametrize("sick", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_picture_that_is_not_finite_is_told_from_its_neighbours(
    sick: float, dtype: torch.dtype
) -> None:
    well = torch.zeros(4, 4, 3, dtype=dtype)
    ill = well.clone()
    ill[3, 3, 2] = sick
    assert unseal([seal(well), seal(ill), seal(well)]) == [
        bytes([128] * 48),
        None,
        bytes([128] * 48),
    ]


def test_the_map_is_exact_for_a_linear_autoencoder() -> None:
    mixing = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)) * 0.2

    def decode(latents: torch.Tensor) -> torch.Tensor:
        big = latents[0].repeat_interleave(8, 1).repeat_interleave(8, 2)
        return big.permute(1, 2, 0) @ mixing + 0.1

    preview_map = fit_preview_map(decode, 4)
    assert preview_map.shape == (5, 3)
    assert torch.allclose(preview_map, torch.cat([mixing, torch.full((1, 3), 0.1)]), atol=1e-4)
    latents = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(2))
    picture = look(latents, preview_map)
    assert (picture.width, picture.height) == (6, 5)
    truth = ((latents.permute(1, 2, 0) @ mixing + 0.1) / 2 + 0.5).clamp(0, 1)
    drawn = torch.frombuffer(bytearray(picture.pixels), dtype=torch.uint8).view(5, 6, 3) / 255
    assert (drawn - truth).abs().max() < 0.51 / 255 + 1e-4
