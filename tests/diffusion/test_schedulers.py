"""Schedulers: every name has its class, and the corners where diffusers would refuse."""

from __future__ import annotations

import pytest
import torch

from imagegen.diffusion.families.sd import StableDiffusion
from imagegen.diffusion.schedulers import StepRule, allowed_schedulers
from imagegen.errors import InvalidModel
from imagegen.generation import Scheduler

pytestmark = pytest.mark.torch

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize("scheduler", Scheduler)
@pytest.mark.parametrize("num_inference_steps", [1, 60, 100])
def test_every_request_can_be_walked_to_its_end(
    scheduler: Scheduler, num_inference_steps: int
) -> None:
    rule = StepRule(scheduler, CONFIG, num_inference_steps)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 4, 4, generator=generator) * rule.init_noise_sigma
    assert len(rule.timesteps) == num_inference_steps
    for step_index in range(num_inference_steps):
        seen = rule.model_input(latents, step_index)
        assert seen.std() < 5
        latents = rule.next_latents(seen * 0.5, step_index, latents, generator)
    assert latents.isfinite().all()


@pytest.mark.parametrize("scheduler", Scheduler)
def test_two_pictures_share_no_state(scheduler: Scheduler) -> None:
    one, other = StepRule(scheduler, CONFIG, 4), StepRule(scheduler, CONFIG, 4)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 4, 4, generator=generator)
    seen = one.model_input(latents, 0)
    one.next_latents(seen, 0, latents, generator)
    assert torch.equal(other.model_input(latents, 0), seen)


def test_the_pipelines_corrections_are_the_familys() -> None:
    """StableDiffusionPipeline shifts old models' timesteps by one and never clips latents."""
    assert dict(StableDiffusion.forced_options) == {"steps_offset": 1, "clip_sample": False}
    old = CONFIG | {"steps_offset": 0, "clip_sample": True}
    assert StepRule(Scheduler.DDIM, old, 10).timesteps[-1] == 0
    corrected = StepRule(Scheduler.DDIM, old | dict(StableDiffusion.forced_options), 10)
    assert corrected.timesteps[-1] == 1
    config = corrected._scheduler.config
    assert (config.steps_offset, config.clip_sample) == (1, False)


def test_the_models_prediction_decides_who_is_allowed() -> None:
    assert allowed_schedulers({}) == tuple(Scheduler)
    assert allowed_schedulers({"prediction_type": "v_prediction"}) == tuple(Scheduler)
    assert Scheduler.EULER_A not in allowed_schedulers({"prediction_type": "sample"})
    with pytest.raises(InvalidModel, match="flow_prediction"):
        allowed_schedulers({"prediction_type": "flow_prediction"})
    with pytest.raises(InvalidModel, match="EDMDPMSolverMultistepScheduler"):
        allowed_schedulers({"_class_name": "EDMDPMSolverMultistepScheduler"})


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_true_prediction_foresees_the_clean_latents(prediction_type: str) -> None:
    rule = StepRule(Scheduler.DDIM, CONFIG | {"prediction_type": prediction_type}, 10)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(1, 4, 4, 4, generator=generator) for _ in range(2))
    alpha = rule._scheduler.alphas_cumprod[int(rule.timesteps[5])]
    seen = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    truth = {
        "epsilon": noise,
        "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * clean,
        "sample": clean,
    }
    foreseen = rule.clean_estimate(seen, truth[prediction_type], 5)
    assert torch.allclose(foreseen, clean, atol=1e-4)
