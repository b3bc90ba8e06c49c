"""How many rows one denoiser call may have."""

from __future__ import annotations

import pytest
import torch

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.diffusion.row_limits import MOST_ROWS, Probe, cpu_row_limits, most_rows
from imagegen.generation import AdapterUse

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("fits", "rows"), [(0, 2), (2, 2), (3, 2), (4, 4), (23, 16), (63, 32), (64, 64), (10_000, 64)]
)
def test_the_largest_batch_that_survives_is_found_by_doubling(fits: int, rows: int) -> None:
    tried: list[int] = []

    def survives(rows: int) -> bool:
        tried.append(rows)
        return rows <= fits

    assert most_rows(survives) == rows
    assert tried == [4, 8, 16, 32, 64][: len(tried)], "never twice, never beyond a failure"
    assert max(tried) <= min(2 * rows, MOST_ROWS)


def test_on_a_cpu_a_step_is_about_as_much_work_at_any_size() -> None:
    limits = cpu_row_limits(512)
    assert [limits.at(side, side) for side in (256, 512, 768, 1024)] == [16, 16, 4, 4]
    assert limits.at(512, 1024) == 8
    assert limits.at(1024, 1032) == 2


def test_a_probe_renders_that_many_rows_and_decodes_one(
    renderer: DiffusersRenderer, loras: dict[str, AdapterUse]
) -> None:
    family = renderer._family
    seen: list[tuple[int, ...]] = []
    handles = [
        family.unet.register_forward_hook(lambda _m, args, _out: seen.append(args[0].shape)),
        family.vae.decoder.register_forward_hook(lambda _m, _args, out: seen.append(out.shape)),
    ]
    Probe(family, renderer._bank, (loras["aurora"],)).try_out(96, 4)
    assert seen == [(4, 4, 12, 12), (1, 3, 96, 96)]

    def overflow(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handles.append(family.unet.conv_out.register_forward_pre_hook(overflow))
    with pytest.raises(MemoryError):
        Probe(family, renderer._bank, ()).try_out(64, 2)
    for handle in handles:
        handle.remove()
