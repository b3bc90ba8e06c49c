"""Scheduler: which diffusers class draws each step, with which options."""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

from imagegen.errors import InvalidModel
from imagegen.generation import Scheduler

_PREDICTIONS = frozenset({"epsilon", "v_prediction", "sample"})
_OTHER_NOISE = ("EDM", "FlowMatch")  # schedulers of models trained on other noise than these draw


@dataclass(frozen=True)
class _Row:
    """A diffusers class and the options that make it the scheduler of that name."""

    cls: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    predictions: frozenset[str] = _PREDICTIONS


_ROWS = {
    Scheduler.DDIM: _Row(DDIMScheduler),
    Scheduler.DDPM: _Row(DDPMScheduler),
    Scheduler.EULER: _Row(EulerDiscreteScheduler, {"use_karras_sigmas": False}),
    Scheduler.EULER_A: _Row(EulerAncestralDiscreteScheduler, predictions=_PREDICTIONS - {"sample"}),
    Scheduler.DPMPP_2M: _Row(
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False},
    ),
    Scheduler.DPMPP_2M_KARRAS: _Row(
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
    ),
    Scheduler.UNIPC: _Row(UniPCMultistepScheduler, {"use_karras_sigmas": False}),
    Scheduler.LCM: _Row(LCMScheduler),
}


def allowed_schedulers(config: Mapping[str, Any]) -> tuple[Scheduler, ...]:
    """The schedulers that understand what the model predicts.

    config: the model's scheduler_config.json. Raises InvalidModel where none draws what it
    predicts, or the noise that it was trained on.
    """
    if (name := str(config.get("_class_name"))).startswith(_OTHER_NOISE):
        raise InvalidModel(
            f"the model's scheduler is {name}: none of {', '.join(_ROWS)} replaces it"
        )
    prediction = config.get("prediction_type", "epsilon")
    allowed = tuple(name for name, row in _ROWS.items() if prediction in row.predictions)
    if not allowed:
        raise InvalidModel(
            f"the model's scheduler predicts {prediction!r}; understood are {sorted(_PREDICTIONS)}"
        )
    return allowed


class StepRule:
    """One picture's own scheduler object, ready for its steps.

    Timesteps stay on the CPU: the schedulers index their tables with them, and a GPU would be
    waited for at every step.
    """

    def __init__(
        self,
        name: Scheduler,
        config: Mapping[str, Any],
        num_inference_steps: int,
        skipped: int | None = None,
    ) -> None:
        """skipped: the first steps, which an edit does not do; None for a picture out of noise."""
        row = _ROWS[name]
        options = {**config, **row.options}
        if name is Scheduler.LCM:  # it refuses more steps than its teacher's 50
            teacher_steps = options.get("original_inference_steps", 50)
            options["original_inference_steps"] = max(teacher_steps, num_inference_steps)
        with warnings.catch_warnings():  # numpy 2.4 about torch tensors in diffusers' tables
            warnings.simplefilter("ignore", DeprecationWarning)
            self._scheduler = row.cls.from_config(options)
            self._scheduler.set_timesteps(num_inference_steps, device="cpu")
        self._takes_generator = "generator" in inspect.signature(row.cls.step).parameters
        self.timesteps: torch.Tensor = self._scheduler.timesteps[skipped or 0 :]
        if skipped is not None and hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(skipped)
        self.init_noise_sigma = float(self._scheduler.init_noise_sigma)

    def copy(self) -> StepRule:
        """Where this one stands; a step of either leaves the other there."""
        twin, scheduler = copy.copy(self), copy.copy(self._scheduler)
        for name, value in vars(scheduler).items():
            if isinstance(value, list):  # multistep schedulers write into those they keep
                setattr(scheduler, name, list(value))
        vars(twin).update(_scheduler=scheduler)
        return twin

    def model_input(self, latents: torch.Tensor, step_index: int) -> torch.Tensor:
        """What the denoiser sees of `latents`: the noise scale it was trained with."""
        scaled: torch.Tensor = self._scheduler.scale_model_input(
            latents, self.timesteps[step_index]
        )
        return scaled

    def noise_level(self, step_index: int) -> tuple[float, float]:
        """What `add_noise` makes of latents before that step: so much of them, so much noise.

        To be asked before the first step, or for the step that comes next. Worked out with two
        numbers, as add_noise takes the tables to the latents' device, where they must not be.
        """
        known, noise = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        timestep = self.timesteps[step_index : step_index + 1]
        signal, strength = self._scheduler.add_noise(known, noise, timestep).tolist()
        return signal, strength

    def next_latents(
        self,
        prediction: torch.Tensor,
        step_index: int,
        latents: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """One step from `latents` along `prediction`, both [1, channels, height/8, width/8]."""
        noise = {"generator": generator} if self._takes_generator else {}
        moved: torch.Tensor = self._scheduler.step(
            prediction, self.timesteps[step_index], latents, **noise, return_dict=False
        )[0]
        return moved

    def clean_estimate(
        self, model_input: torch.Tensor, prediction: torch.Tensor, step_index: int
    ) -> torch.Tensor:
        """The picture's latents as foreseen at a step: x0 of eq. 12, Song et al. 2021 (DDIM).

        model_input: what the denoiser saw, sqrt(a) x0 + sqrt(1 - a) noise; v: Salimans & Ho 2022.
        """
        alpha = float(self._scheduler.alphas_cumprod[int(self.timesteps[step_index])])
        signal, noise = math.sqrt(alpha), math.sqrt(1 - alpha)
        match self._scheduler.config.prediction_type:
            case "sample":
                return prediction
            case "v_prediction":
                return signal * model_input - noise * prediction
            case _:
                return (model_input - noise * prediction) / max(signal, 1e-4)
