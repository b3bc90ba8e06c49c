"""DiffusersRenderer: pictures from a diffusion model, any mixture of them in one denoiser call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from imagegen.diffusion.loading import WeightsDigest, fetch_model, quieten
from imagegen.diffusion.pixels import Glance, to_picture
from imagegen.engine.renderer import Phase, Picture
from imagegen.errors import InvalidSettings, RenderFailed
from imagegen.generation import AdapterUse, ModelInfo, RenderSpec

if TYPE_CHECKING:
    from imagegen.diffusion.adapters import AdapterBank
    from imagegen.diffusion.families.family import Conditioning, Family
    from imagegen.diffusion.schedulers import StepRule

T = TypeVar("T")

CACHE = Path("~/.cache/imagegen/models")


@dataclass
class PictureInFlight:
    """One picture on its way. Everything that changes is its own: nothing is shared."""

    spec: RenderSpec
    warnings: tuple[str, ...]
    rule: StepRule  # its own diffusers scheduler object
    generator: torch.Generator
    condition: Conditioning
    latents: Tensor  # [1, channels, height/8, width/8]
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
        adapter_slots: int = 16,
    ) -> None:
        """Remembers; `load` does the work.

        model: a folder, a Hub id or `gs://…`; name: what to call it in records, `model` by default.
        presets_adapters: each brand's LoRA, or the tuple of them where a brand has several.
        adapter_slots: how many brands may be resident on the device at a time.
        """
        self._model, self._name = model, name or model
        self._brands = [
            said if isinstance(said, tuple) else (said,) for said in presets_adapters if said
        ]
        self._device_name, self._dtype_name = device, dtype
        self._adapter_slots = adapter_slots
        self._family: Family
        self._bank: AdapterBank
        self._glance: Glance

    def load(self, phase: Phase) -> ModelInfo:
        """Raises InvalidModel, InvalidAdapter or InvalidSettings, each saying what to mend."""
        device = _choose_device(self._device_name)
        dtype = _choose_dtype(self._dtype_name, device)
        phase("files")
        folder = fetch_model(self._model, CACHE.expanduser(), half=dtype is torch.float16)
        digest = WeightsDigest(folder)
        phase("libraries")
        quieten()
        from imagegen.diffusion.adapters import AdapterBank
        from imagegen.diffusion.families import load_family

        phase("weights")
        with torch.inference_mode():
            self._family = family = load_family(folder, device, dtype)
            phase("adapters")
            slots = min(self._adapter_slots, max(1, len(self._brands)))
            self._bank = AdapterBank(family.components, self._brands, slots)
            phase("warm-up")
            like = torch.empty(0, device=device, dtype=dtype)
            self._glance = Glance(family.decode, family.latent_shape(8, 8)[1], like)
        return ModelInfo(
            name=self._name,
            sha256=digest.result(),
            family=family.name,
            native_px=family.native_px,
            min_px=-(-family.native_px // 16) * 8,
            max_px=2 * family.native_px,
            schedulers=family.schedulers,
            device="cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
            dtype=str(dtype).removeprefix("torch."),
        )

    @torch.inference_mode()
    def begin(self, spec: RenderSpec) -> PictureInFlight:
        """Encodes the prompt under the brand's LoRAs and draws the first latents.

        The noise comes from a CPU generator, as a CPU and a GPU then draw the same picture.
        """
        family = self._family
        if spec.width % family.px_per_latent or spec.height % family.px_per_latent:
            raise RenderFailed(
                f"{spec.width} x {spec.height} is not in steps of {family.px_per_latent} pixels"
            )
        guided = family.is_guided(spec.guidance_scale)
        texts = [spec.negative_prompt, spec.prompt] if guided else [spec.prompt]
        self._bank.select([spec.adapters])  # each text is encoded alone
        condition = _fitting(
            lambda: family.condition(
                [family.encode(text) for text in texts],
                spec.width, spec.height, spec.guidance_scale,
            )
        )  # fmt: skip
        rule = family.step_rule(spec.scheduler, spec.num_inference_steps)
        generator = torch.Generator("cpu").manual_seed(spec.seed)
        shape = family.latent_shape(spec.width, spec.height)
        noise = torch.randn(shape, generator=generator, dtype=condition.embeddings.dtype)
        return PictureInFlight(
            spec=spec,
            warnings=tuple(_truncations(family, spec, guided)),
            rule=rule,
            generator=generator,
            condition=condition,
            latents=noise.to(condition.embeddings.device) * rule.init_noise_sigma,
        )

    @torch.inference_mode()
    def step(self, pictures: Sequence[PictureInFlight]) -> None:
        """One denoiser call for all: a row a picture, two under guidance. All or none move on."""
        seen = [each.rule.model_input(each.latents, each.step_index) for each in pictures]
        rows = [each.row_count for each in pictures]
        latents = torch.cat([x.expand(n, -1, -1, -1) for x, n in zip(seen, rows, strict=True)])
        now = torch.stack([each.rule.timesteps[each.step_index].float() for each in pictures])
        timesteps = now.repeat_interleave(torch.tensor(rows))
        conditions = [each.condition for each in pictures]
        self._bank.select([each.spec.adapters for each in pictures for _ in range(each.row_count)])
        prediction = _fitting(lambda: self._family.denoise(latents, timesteps, conditions))
        for each, x, own in zip(pictures, seen, torch.split(prediction, rows), strict=True):
            _advance(each, x, own)

    @torch.inference_mode()
    def finish(self, pictures: Sequence[PictureInFlight]) -> list[Picture]:
        """Decodes one by one, so that no picture depends on its company."""
        return [self._finish_one(each) for each in pictures]

    def _finish_one(self, picture: PictureInFlight) -> Picture:
        decoded = _fitting(lambda: self._family.decode(picture.latents))
        if not bool(decoded.isfinite().all()):
            raise RenderFailed(
                f"seed {picture.spec.seed} of {picture.spec.brand} came out with values that are"
                " not finite numbers; try another seed or scheduler, or IMAGEGEN_DTYPE=float32"
            )
        return to_picture(decoded)

    @torch.inference_mode()
    def preview(self, picture: PictureInFlight) -> Picture:
        """What the picture is heading for, at one pixel per latent."""
        if picture.last_seen is None:
            foreseen = picture.latents / picture.rule.init_noise_sigma
        else:
            foreseen = picture.rule.clean_estimate(*picture.last_seen, picture.step_index - 1)
        return self._glance.look(foreseen[0])


def _advance(picture: PictureInFlight, seen: Tensor, prediction: Tensor) -> None:
    if picture.row_count == 2:
        prediction = guide(prediction[:1], prediction[1:], picture.spec.guidance_scale)
    picture.latents = picture.rule.next_latents(
        prediction, picture.step_index, picture.latents, picture.generator
    )
    picture.last_seen = seen, prediction
    picture.step_index += 1


def guide(negative: Tensor, prompted: Tensor, guidance_scale: float) -> Tensor:
    """Classifier-free guidance, eq. 6 of Ho & Salimans 2022 (arXiv:2207.12598).

    negative, prompted: predictions, float [1, channels, height/8, width/8].
    guidance_scale: dimensionless, > 1. Returns the guided prediction, same shape.
    """
    return negative + guidance_scale * (prompted - negative)


def _truncations(family: Family, spec: RenderSpec, guided: bool) -> Iterator[str]:
    texts = {"prompt": spec.prompt} | ({"negative_prompt": spec.negative_prompt} if guided else {})
    for name, text in texts.items():
        if lost := family.unread_words(text):
            yield f"{name} is longer than the text encoder reads; left out: {lost}"


def _choose_device(name: str) -> torch.device:
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise InvalidSettings(
            "IMAGEGEN_DEVICE is cuda, but there is no CUDA device; use auto or cpu"
        )
    if name == "cpu" or not found:
        return torch.device("cpu")
    torch.backends.cudnn.deterministic = True  # `exact` promises the same bytes again
    return torch.device("cuda")


def _choose_dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return {"float16": torch.float16, "float32": torch.float32}[name]


def _fitting(call: Callable[[], T]) -> T:
    """Calls; turns running out of device memory into MemoryError.

    Raised after the `except` ends: its traceback would hold the tensors that filled the device.
    """
    try:
        return call()
    except torch.OutOfMemoryError as error:
        reason = str(error)
    torch.cuda.empty_cache()
    raise MemoryError(reason)
