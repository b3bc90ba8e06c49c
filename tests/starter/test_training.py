"""The starter's training machinery, and a LoRA trained from a folder of pictures."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler
from tiny_models import draw, make_model, make_spec, use
from transformers import CLIPTextModel

from imagegen.adapter_files.check import check_adapter
from imagegen.diffusion.loading import quieten
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.diffusion.training import loss_weights, train_lora
from imagegen.errors import InvalidTraining
from imagegen.starter import autoencoder, denoiser, reading, text, train
from imagegen.starter.brands import training_picture

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    quieten()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model")
    make_model(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("images"), Random(0)
    for index in range(5):
        picture, words = training_picture("pop", rng, 96, 64)
        picture.save(folder / f"{index}.png")
        if index:  # one picture has no words of its own
            (folder / f"{index}.txt").write_text(words)
    return folder


def test_white_latents_give_the_same_picture() -> None:
    torch.manual_seed(0)
    model = autoencoder.new_autoencoder().eval()
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = model.decode(model.encode(pixels).latent_dist.mode()).sample
        autoencoder.whiten(model, pictures=6)
        latents = model.encode(pixels).latent_dist.mode()
        after = model.decode(latents).sample
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-3)
    assert model.config.scaling_factor == 1.0
    std = model.encode(pixels).latent_dist.std
    torch.testing.assert_close(std, torch.full_like(std, autoencoder.NOISE))


def test_a_killed_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder().eval()
    tokenizer = text.train_tokenizer(tmp_path / "tokenizer", captions=500)

    def stretch(until: int) -> tuple[denoiser.Stretch, ...]:
        return (denoiser.Stretch(((64, 64),), 4, rows=2, until=until, learning_rate=1e-3),)

    def trained(until: int) -> torch.Tensor:
        trainer = denoiser.Trainer(tmp_path / "denoiser.pt", tokenizer)
        return denoiser.train(trainer, vae, stretch(until)).unet.conv_out.weight.clone()

    first = trained(1)
    assert denoiser.Trainer(tmp_path / "denoiser.pt", tokenizer).step == 1
    assert torch.equal(first, trained(1))
    assert not torch.equal(first, trained(2))


def test_an_exported_model_can_be_taken_up_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder().eval()
    tokenizer = text.train_tokenizer(tmp_path / "tokenizer", captions=500)
    model = denoiser.Model(tokenizer)
    with torch.no_grad():
        model.unet.conv_out.weight.fill_(0.25)
    train.export(tmp_path / "tokenizer", vae, model, tmp_path / "model")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        assert (tmp_path / "model" / "tokenizer" / name).exists()
    again = AutoencoderKL.from_pretrained(tmp_path / "model" / "vae")  # it remembers from where
    train.export(tmp_path / "model" / "tokenizer", again, model, tmp_path / "refined")
    for config in (tmp_path / "refined").rglob("*config.json"):
        assert str(tmp_path) not in config.read_text()
    start = denoiser.Model(tokenizer)
    start.load_shipped(tmp_path / "model")
    assert start.unet.conv_out.weight.eq(0.25).all()


def test_what_is_not_taught_stays_as_it_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--reading` writes the model anew where it lies; without a lesson, nothing has changed."""
    monkeypatch.setattr(train, "LESSONS", 0)
    target = tmp_path / "model"
    shutil.copytree(train.MODEL, target)
    train.export(*train.taught_model(tmp_path, target), target)
    for shipped in train.MODEL.rglob("*"):
        if shipped.is_file():
            name = shipped.relative_to(train.MODEL)
            assert (target / name).read_bytes() == shipped.read_bytes(), name
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_words_that_mean_nothing_are_read_as_plain_ones(tmp_path: Path) -> None:
    """The pupil comes nearer to what the teacher reads in plain words."""
    torch.manual_seed(0)
    tokenizer = text.train_tokenizer(tmp_path / "tokenizer", captions=500)
    teacher = denoiser.new_text_encoder(tokenizer)
    school, rng = reading.School(tokenizer), Random(10**6)
    exam = list(islice(school.lessons(rng), 32))

    def faults(encoder: CLIPTextModel) -> float:
        with torch.no_grad():
            plain = teacher(torch.tensor([one.plain for one in exam])).last_hidden_state
            written = encoder(torch.tensor([one.written for one in exam])).last_hidden_state
        return reading.disagreement(plain, written, exam).item()

    pupil = reading.teach(teacher, tokenizer, tmp_path / "reading.pt", steps=20)
    assert faults(pupil) < 0.8 * faults(teacher)


def test_a_stopped_pupil_goes_on_and_only_with_its_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = text.train_tokenizer(tmp_path / "tokenizer", captions=500)
    one, other = (denoiser.new_text_encoder(tokenizer) for _ in range(2))
    monkeypatch.setattr(reading, "KEPT_EVERY", 2)
    taught: list[int] = []
    save = reading.save_checkpoint

    def stop_after(step: int) -> None:
        def saving(state: dict[str, Any], path: Path) -> None:
            save(state, path)
            taught.append(state["step"])
            if state["step"] == step:
                raise KeyboardInterrupt

        monkeypatch.setattr(reading, "save_checkpoint", saving)

    def weights_after(teacher: CLIPTextModel, steps: int) -> torch.Tensor:
        taught.clear()
        pupil = reading.teach(teacher, tokenizer, tmp_path / "reading.pt", steps)
        return torch.cat([each.flatten() for each in pupil.parameters()])

    stop_after(2)
    with pytest.raises(KeyboardInterrupt):
        weights_after(one, 6)
    stop_after(-1)
    pupil = weights_after(one, 6)
    assert taught == [4, 6]
    assert torch.equal(weights_after(one, 6), pupil)
    assert taught == []
    assert "another teacher" not in caplog.text
    for teacher, steps in ((one, 4), (other, 4)):
        weights_after(teacher, steps)
        assert taught == [2, 4]
        assert "reading.pt is of another teacher or other lessons" in caplog.text
        caplog.clear()


def test_a_caption_that_is_too_long_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = text.train_tokenizer(tmp_path / "tokenizer", captions=500)
    drawn = iter([[("a", "a")] * 74, [("a", "a")] * 76, [("mug", "mug")]])
    monkeypatch.setattr(reading, "words_for", lambda _: next(drawn))
    lessons = list(islice(reading.School(tokenizer).lessons(Random(0)), 2))
    assert [lesson.plain.index(tokenizer.eos_token_id) for lesson in lessons] == [75, 2]


def test_a_lesson_pairs_what_is_said_with_what_is_written(tmp_path: Path) -> None:
    tokenizer = text.train_tokenizer(tmp_path / "tokenizer", captions=500)
    school = reading.School(tokenizer)
    lesson = school.lesson(
        [("", "zu"), ("a", "a"), ("mug", "mug"), ("in", "vem ka"), ("red", "red")]
    )
    assert lesson is not None
    words = [tokenizer.convert_ids_to_tokens(ids) for ids in (lesson.plain, lesson.written)]
    for one, other in (*lesson.named, *lesson.words):
        plain, written = words[0][one], words[1][other]
        assert plain in (written, "in</w>")
    assert words[0][1:5] == ["a</w>", "mug</w>", "in</w>", "red</w>"]
    ends = [ids.index(tokenizer.eos_token_id) for ids in (lesson.plain, lesson.written)]
    assert lesson.rest[0] == (ends[0], ends[1])
    assert lesson.rest[1:] == [(place, place) for place in range(max(ends) + 1, 77)]
    same = school.lesson([("a", "a"), ("mug", "mug")])
    assert same is not None
    assert same.plain == same.written == tokenizer("a mug", padding="max_length").input_ids


def test_the_tokenizer_reads_as_clip_does(tmp_path: Path) -> None:
    tokenizer = text.train_tokenizer(tmp_path, captions=500)
    ids = tokenizer("A  RED mug", padding="max_length", max_length=77, truncation=True).input_ids
    assert len(ids) == 77
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["a", "red", "mug"]
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer("é日😀").input_ids  # any bytes can be read


def test_noise_and_v_weigh_an_error_alike() -> None:
    """The same prediction in either form has the same loss; the noisiest steps count most."""
    noise = denoiser.noise_schedule()
    velocity = DDPMScheduler.from_config(noise.config, prediction_type="v_prediction")
    of_noise, of_velocity = loss_weights(noise), loss_weights(velocity)
    signal = noise.alphas_cumprod  # |error of v|² = |error of noise|² / signal
    shares = of_velocity / signal / of_noise
    torch.testing.assert_close(shares, shares[0].expand(1000))
    for weights in (of_noise, of_velocity):
        assert weights.mean().item() == pytest.approx(1)
    assert of_noise.argmax() > 500
    assert of_noise[999] == of_noise.max()


def test_a_trained_lora_lands_and_changes_the_picture(
    model: Path, images: Path, tmp_path: Path
) -> None:
    seen = []
    written = train_lora(
        tmp_path / "pop", images, model=model, template="pop style, {prompt}", steps=60, rank=2,
        learning_rate=2e-2, progress=lambda step, of, loss: seen.append((step, of, loss)),
    )  # fmt: skip
    assert written == tmp_path / "pop" / "pop.safetensors"
    assert [step for step, _, _ in seen] == list(range(1, 61))
    assert seen[-1][2] < 0.9 * seen[9][2], "it learned nothing: means of the last 50, the first 10"
    assert check_adapter(written, model) == []

    adapter = use(written)
    renderer = DiffusersRenderer(str(model), [adapter], "cpu", "float32")
    renderer.load(lambda _: None)
    bare, branded = make_spec(), make_spec(adapters=(adapter,))
    assert draw(renderer, bare) != draw(renderer, branded)


def test_the_same_pictures_and_seed_train_the_same_lora(
    model: Path, images: Path, tmp_path: Path
) -> None:
    options = {"model": model, "steps": 2, "rank": 1, "seed": 3}
    one = train_lora(tmp_path / "a", images, **options)
    two = train_lora(tmp_path / "b", images, **options)
    assert one.read_bytes() == two.read_bytes()


def test_nothing_to_learn_from_is_said(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidTraining, match="no pictures"):
        train_lora(tmp_path / "pop", tmp_path, model=model)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(InvalidTraining, match=r"cannot read .*broken\.png"):
        train_lora(tmp_path / "pop", tmp_path, model=model)
    assert not (tmp_path / "pop").exists()


def test_no_lora_is_trained_for_sdxl(tmp_path: Path, images: Path) -> None:
    make_model(tmp_path / "xl", shape="sdxl")
    with pytest.raises(InvalidTraining, match="made for StableDiffusionXLPipeline"):
        train_lora(tmp_path / "brand", images, model=tmp_path / "xl")
    assert not (tmp_path / "brand").exists()
