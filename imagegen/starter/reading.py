"""Teaches the text encoder to read words that it does not know; the UNet stays as it is.

A teacher, the encoder as it was, reads what a plain speaker says; its pupil reads the same caption
with strange words in some places and shall arrive at the same states. So the UNet sees nothing new,
and a step costs a fiftieth of one through the UNet.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from imagegen.starter.autoencoder import training_device
from imagegen.starter.captions import loose_caption, plain_caption, strangely, stray
from imagegen.starter.checkpoints import load_checkpoint, save_checkpoint
from imagegen.starter.objects import OBJECTS
from imagegen.starter.phrasings import PLURALS
from imagegen.starter.scenes import COLOURS, random_scene
from imagegen.starter.text import MAX_TOKENS

log = logging.getLogger(__name__)

ROWS = 48
LEARNING_RATE = 1e-3
KEPT_EVERY = 500  # steps, of which a stopped training loses the last ones
LENGTHS = (48, 48, 48, MAX_TOKENS)  # what lies behind a state does not change it: most need less
_NAMES = frozenset((*OBJECTS, *PLURALS.values(), *(f"{name}s" for name in OBJECTS), *COLOURS))
_PLAIN, _NOISY = 0.3, 0.3  # of the captions: nothing strange in them; strange words around them


@dataclass
class Lesson:
    """A caption as the teacher reads it, as the pupil does, and which of their states shall agree.

    Token ids, 77 each; then pairs of places: of the teacher's and the pupil's states.
    """

    plain: list[int]
    written: list[int]
    named: list[tuple[int, int]]  # objects and colours
    words: list[tuple[int, int]]  # all others
    rest: list[tuple[int, int]]  # from the later caption's end on


class School:
    """Turns words into lessons."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self._start, self._end = tokenizer.bos_token_id, tokenizer.eos_token_id

        @lru_cache(100_000)
        def ids(word: str) -> tuple[int, ...]:
            return tuple(tokenizer(word, add_special_tokens=False).input_ids) if word else ()

        self._ids = ids

    def lessons(self, rng: Random) -> Iterator[Lesson]:
        """Without end. A caption that is longer than what is read is drawn again."""
        while True:
            if lesson := self.lesson(words_for(rng)):
                yield lesson

    def lesson(self, said: list[tuple[str, str]]) -> Lesson | None:
        """said: each word as plainly said and as written; no plain word: it means nothing.

        None where that is longer than what is read.
        """
        plain, written = [self._start], [self._start]
        named: list[tuple[int, int]] = []
        words = [(0, 0)]
        for word, instead in said:
            mine, theirs = self._ids(word), self._ids(instead)
            places = named if word.lower() in _NAMES else words
            places += [
                (len(plain) + (index if mine == theirs else len(mine) - 1), len(written) + index)
                for index in range(len(theirs) if mine else 0)
            ]
            plain += mine
            written += theirs
        ends = len(plain), len(written)
        if max(ends) >= MAX_TOKENS:
            return None
        rest = [ends, *((place, place) for place in range(max(ends) + 1, MAX_TOKENS))]
        return Lesson(self._filled(plain), self._filled(written), named, words, rest)

    def _filled(self, ids: list[int]) -> list[int]:
        return ids + [self._end] * (MAX_TOKENS - len(ids))


def words_for(rng: Random) -> list[tuple[str, str]]:
    """The words of one lesson, from the same grammar as the denoiser's captions."""
    scene = random_scene(rng)
    if rng.random() < _PLAIN:
        return [(word, word) for word in plain_caption(scene, rng).split()]
    words = strangely(loose_caption(scene, rng), rng)
    if rng.random() < _NOISY:
        noise = [("", stray(rng)) for _ in range(rng.randint(1, 3))]
        words = noise + words if rng.random() < 0.5 else words + noise
    return words


def disagreement(teacher: torch.Tensor, pupil: torch.Tensor, lessons: list[Lesson]) -> torch.Tensor:
    """Mean squared difference of states [rows, length, width]; each kind of place counts alike."""
    parts = []
    for kind in ("named", "words", "rest"):
        places = [
            (row, one, other)
            for row, lesson in enumerate(lessons)
            for one, other in getattr(lesson, kind)
            if max(one, other) < pupil.shape[1]
        ]
        row, one, other = torch.tensor(places, device=pupil.device).unbind(1)
        parts.append((teacher[row, one] - pupil[row, other]).square().mean())
    return torch.stack(parts).mean()


def teach(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, checkpoint: Path, steps: int
) -> CLIPTextModel:
    """A pupil of `encoder` after `steps` lessons; a stopped one goes on from `checkpoint`.

    A checkpoint of another teacher, or of another number of lessons, is said and begun anew.
    """
    device = training_device()
    teacher = deepcopy(encoder).to(device).eval().requires_grad_(False)
    pupil = deepcopy(encoder).to(device)
    optimizer = torch.optim.AdamW(pupil.parameters(), LEARNING_RATE, weight_decay=1e-3)
    step, curriculum = 0, {"teacher": _digest(encoder), "steps": steps}
    if kept := _kept(checkpoint, device, curriculum):
        pupil.load_state_dict(kept["pupil"])
        optimizer.load_state_dict(kept["optimizer"])
        step = kept["step"]
    rng = Random(step + 1)
    to_come = School(tokenizer).lessons(rng)
    started, recent = time.monotonic(), []
    while step < steps:
        lessons = list(islice(to_come, ROWS))
        length = rng.choice(LENGTHS)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 100) * (1.02 - step / steps)
        with torch.no_grad():
            states = teacher(torch.tensor([one.plain[:length] for one in lessons], device=device))
        written = pupil(torch.tensor([one.written[:length] for one in lessons], device=device))
        loss = disagreement(states.last_hidden_state, written.last_hidden_state, lessons)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        optimizer.step()
        step += 1
        recent.append(loss.item())
        if step % KEPT_EVERY == 0 or step == steps:
            log.info(
                "reading step %d of %d: difference %.4f, %.1f min",
                step, steps, sum(recent) / len(recent), (time.monotonic() - started) / 60,
            )  # fmt: skip
            recent.clear()
            state = {"pupil": pupil.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            save_checkpoint(state | curriculum, checkpoint)
    return pupil.cpu().eval()


def _kept(
    checkpoint: Path, device: torch.device, curriculum: Mapping[str, object]
) -> dict[str, Any] | None:
    """The checkpoint, if it belongs to the same teacher and the same number of lessons."""
    kept = load_checkpoint(checkpoint, device)
    if kept and any(kept.get(name) != said for name, said in curriculum.items()):
        log.warning("%s is of another teacher or other lessons: reading begins anew", checkpoint)
        return None
    return kept


def _digest(encoder: CLIPTextModel) -> str:
    """Of the names and the values of its weights: hex."""
    digest = hashlib.sha256()
    for name, weights in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(weights.cpu().numpy().tobytes())
    return digest.hexdigest()
