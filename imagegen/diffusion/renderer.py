"""DiffusersRenderer: pictures from a diffusion model, any mixture of them in one denoiser call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imagegen.diffusion.beginnings import Beginnings, Kept
from imagegen.diffusion.device import choose_device, choose_dtype, fitting, send, wait_for
from imagegen.diffusion.families.conditioning import Conditioning
from imagegen.diffusion.lean import lean_imports
from imagegen.diffusion.loading import ModelFiles, quieten
from imagegen.diffusion.pixels import look, seal, unseal
from imagegen.diffusion.prompts import PromptReader
from imagegen.diffusion.replay import ReplayedDenoiser, recorder_for
from imagegen.diffusion.row_limits import Probe
from imagegen.engine.renderer import Phase, Picture
from imagegen.errors import RenderFailed
from imagegen.generation import AdapterUse, ModelInfo, RenderSpec, RowLimits
from imagegen.model_sizes import SideLimits

if TYPE_CHECKING:
    from imagegen.diffusion.adapters import AdapterBank
    from imagegen.diffusion.families.family import Family
    from imagegen.diffusion.schedulers import StepRule


@dataclass
class PictureInFlight:
    """One picture on its way. Everything that changes is its own: nothing is shared."""

    spec: RenderSpec
    warnings: tuple[str, ...]
    rule: StepRule  # its own diffusers scheduler object
    generator: torch.Generator
    condition: Conditioning
    latents: Tensor  # [1, channels, height/8, width/8]
    kept: Kept | None = None  # of a picture that is repainted in parts
    step_index: int = 0
    last_seen: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    @property
    def step_count(self) -> int:
        return len(self.rule.timesteps)

    @property
    def row_count(self) -> int:
        return self.condition.embeddings.shape[0]


class DiffusersRenderer:
    """Renders with a Stable Diffusion model and the brands' LoRAs. One thread, one process."""

    def __init__(
        self,
        model: str,
        presets_adapters: Sequence[AdapterUse | tuple[AdapterUse, ...]],
        device: str = "auto",
        dtype: str = "auto",
        *,
        name: str | None = None,
        files: ModelFiles | None = None,
        adapter_slots: int = RowLimits.MOST,
    ) -> None:
        """Remembers; `load` does the work.

        model: a folder, a Hub id or `gs://…`; name: what to call it in records, `model` by default;
        files: the model's, where somebody has begun to fetch them before this module was imported.
        presets_adapters: each brand's LoRA, or the tuple of them where a brand has several.
        adapter_slots: how many brands may be resident on the device at a time, memory allowing; by
        default all that can meet in one step.
        """
        self._model, self._name, self._files = model, name or model, files
        self._brands = [
            said if isinstance(said, tuple) else (said,) for said in presets_adapters if said
        ]
        self._device_name, self._dtype_name = device, dtype
        self._adapter_slots = adapter_slots
        self._family: Family
        self._bank: AdapterBank
        self._prompts: PromptReader
        self._denoiser: ReplayedDenoiser
        self._beginnings: Beginnings
        self._device: torch.device

    def load(self, phase: Phase) -> ModelInfo:
        """Raises InvalidModel, InvalidAdapter or InvalidSettings, each saying what to mend."""
        phase("import")
        self._device = device = choose_device(self._device_name)
        dtype = choose_dtype(self._dtype_name, device)
        files = self._files or ModelFiles(self._model, half=dtype is torch.float16)
        with lean_imports():
            quieten()
            from imagegen.diffusion.adapters import AdapterBank

            import_module("imagegen.diffusion.families.family")  # and with it diffusers
            from imagegen.diffusion.families import load_family

        phase("fetch")
        folder = files.folder()
        phase("load")
        with torch.inference_mode():
            self._family = model = load_family(folder, device, dtype)
            phase("adapters")
            slots = min(self._adapter_slots, max(1, len(self._brands)))
            self._bank = AdapterBank(model.components, self._brands, slots)
            self._prompts = PromptReader(model, self._bank)
            self._denoiser = ReplayedDenoiser(model, self._bank, recorder_for(device))
            self._beginnings = Beginnings(model, device)
            phase("warmup")
            limits = Probe(model, self._bank, self._bank.heaviest).row_limits(device)
        return ModelInfo(
            name=self._name,
            sha256=files.sha256(),
            family=model.name,
            native_px=model.native_px,
            min_px=SideLimits.of(model.native_px).min_px,
            max_px=math.isqrt(limits.probes[-1][0]),
            schedulers=model.schedulers,
            device="cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
            dtype=str(dtype).removeprefix("torch."),
            row_limits=limits,
        )

    @torch.inference_mode()
    def begin(self, spec: RenderSpec) -> PictureInFlight:
        """Encodes the prompt under the brand's LoRAs and draws the first latents."""
        picture = self._denoiser.making_room(partial(self._begin, spec))
        wait_for(self._device)
        return picture

    def _begin(self, spec: RenderSpec) -> PictureInFlight:
        family = self._family
        if spec.width % family.px_per_latent or spec.height % family.px_per_latent:
            raise RenderFailed(
                f"{spec.width} x {spec.height} is not in steps of {family.px_per_latent} pixels"
            )
        texts = {"prompt": spec.prompt}
        if family.is_guided(spec.guidance_scale):
            texts = {"negative_prompt": spec.negative_prompt} | texts
        prompts = [self._prompts.read(text, spec.adapters) for text in texts.values()]
        condition = family.condition(
            [prompt.encoded for prompt in prompts], spec.width, spec.height, spec.guidance_scale
        )
        skipped = None if spec.edit is None else spec.num_inference_steps - spec.step_count
        rule = family.step_rule(spec.scheduler, spec.num_inference_steps, skipped)
        generator = torch.Generator("cpu").manual_seed(spec.seed)
        begun = self._beginnings.draw(spec, rule, generator, condition.embeddings.dtype)
        return PictureInFlight(
            spec=spec,
            warnings=tuple(
                f"{name} is longer than the text encoder reads; left out: {prompt.unread}"
                for name, prompt in zip(texts, prompts, strict=True)
                if prompt.unread
            )
            + begun.warnings,
            rule=rule,
            generator=generator,
            condition=condition,
            latents=begun.latents,
            kept=begun.kept,
        )

    @torch.inference_mode()
    def step(self, pictures: Sequence[PictureInFlight]) -> None:
        """One denoiser call for all: a row a picture, two under guidance. All or none move on.

        Waits for the device: the step's time and errors are its own pictures' and no one else's.
        """
        fitting(partial(self._select, pictures))  # more brands than slots: no room helps
        moved = self._denoiser.making_room(partial(self._moved, pictures))
        wait_for(self._device)
        for each, beyond in zip(pictures, moved, strict=True):
            vars(each).update(vars(beyond))

    def _select(self, pictures: Sequence[PictureInFlight]) -> None:
        self._bank.select([each.spec.adapters for each in pictures for _ in range(each.row_count)])

    def _moved(self, pictures: Sequence[PictureInFlight]) -> list[PictureInFlight]:
        """Where the pictures are after the step; they themselves stay where they were."""
        rows = [each.row_count for each in pictures]
        now = [each.rule.timesteps[each.step_index].float() for each in pictures]
        timesteps = torch.stack(now).repeat_interleave(torch.tensor(rows))
        seen = [each.rule.model_input(each.latents, each.step_index) for each in pictures]
        prediction = self._denoiser.denoise(
            torch.cat([x.expand(n, -1, -1, -1) for x, n in zip(seen, rows, strict=True)]),
            send(timesteps, self._device),
            Conditioning.together([each.condition for each in pictures]),
        )
        predictions = torch.split(prediction, rows)
        return [_beyond(*each) for each in zip(pictures, seen, predictions, strict=True)]

    @torch.inference_mode()
    def finish(self, pictures: Sequence[PictureInFlight]) -> list[Picture]:
        """Decodes one by one, so that no picture depends on its company; fetches all at once."""
        decoded = self._denoiser.making_room(
            lambda: unseal([self._decode(each) for each in pictures])
        )
        finished = []
        for each, pixels in zip(pictures, decoded, strict=True):
            if pixels is None:
                raise RenderFailed(
                    f"seed {each.spec.seed} of {each.spec.brand} came out with values that are"
                    " not finite numbers; try another seed or scheduler, or IMAGEGEN_DTYPE=float32"
                )
            finished.append(Picture(pixels, each.spec.width, each.spec.height))
        return finished

    def _decode(self, picture: PictureInFlight) -> Tensor:
        return seal(self._family.decode(picture.latents))

    @torch.inference_mode()
    def preview(self, picture: PictureInFlight) -> Picture:
        """What the picture is heading for, at one pixel per latent."""
        return self._denoiser.making_room(partial(self._look, picture))

    def _look(self, picture: PictureInFlight) -> Picture:
        if picture.last_seen is None:
            foreseen = picture.latents / picture.rule.init_noise_sigma
        else:
            foreseen = picture.rule.clean_estimate(*picture.last_seen, picture.step_index - 1)
        return look(foreseen[0], self._family.preview_map)


def _beyond(picture: PictureInFlight, seen: Tensor, prediction: Tensor) -> PictureInFlight:
    """The picture one step on, as a copy: schedulers and generators change as they are used."""
    if picture.row_count == 2:
        prediction = guide(prediction[:1], prediction[1:], picture.spec.guidance_scale)
    rule, generator = picture.rule.copy(), picture.generator.clone_state()
    latents = rule.next_latents(prediction, picture.step_index, picture.latents, generator)
    if picture.kept is not None:
        latents = picture.kept.put_back(latents, rule, picture.step_index + 1)
    return replace(
        picture,
        rule=rule,
        generator=generator,
        latents=latents,
        last_seen=(seen, prediction),
        step_index=picture.step_index + 1,
    )


def guide(negative: Tensor, prompted: Tensor, guidance_scale: float) -> Tensor:
    """Classifier-free guidance, eq. 6 of Ho & Salimans 2022 (arXiv:2207.12598).

    negative, prompted: predictions, float [1, channels, height/8, width/8].
    guidance_scale: dimensionless, > 1. Returns the guided prediction, same shape.
    """
    return negative + guidance_scale * (prompted - negative)
