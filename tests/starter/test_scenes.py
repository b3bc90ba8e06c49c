"""Scenes and captions: what the starter model learned from."""

from __future__ import annotations

import re
from random import Random

import numpy as np
import pytest

from imagegen.starter.captions import caption, training_caption
from imagegen.starter.objects import OBJECTS
from imagegen.starter.phrasings import HELD_OUT
from imagegen.starter.scenes import (
    COLOURS,
    Scene,
    all_triples,
    draw,
    is_held_out,
    random_scene,
)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", "", text)))


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_is_seen_in_every_colour_on_every_background(name: str) -> None:
    for colour in COLOURS:
        for background in COLOURS:
            picture = np.asarray(draw(Scene(name, colour, background), 96, 96), int)
            corner, middle = picture[2, 2], picture[30:66, 30:66].reshape(-1, 3)
            assert np.abs(middle - corner).sum(1).max() > 25, (colour, background)


def test_a_drawing_has_the_size_asked_for_and_is_the_same_every_time() -> None:
    scene = random_scene(Random(1))
    assert draw(scene, 96, 160).size == (96, 160)
    assert draw(scene, 96, 160).tobytes() == draw(scene, 96, 160).tobytes()


def test_held_out_triples_are_never_drawn_for_training() -> None:
    held_out, known = all_triples(held_out=True), all_triples(held_out=False)
    assert len(held_out) + len(known) == 12 * 12 * 12
    assert len(held_out) >= 300
    rng = Random(2)
    assert not any(is_held_out(random_scene(rng).triple) for _ in range(3_000))


def test_training_never_reads_a_held_out_piece() -> None:
    rng = Random(3)
    read = set()
    for _ in range(20_000):
        read |= words_of(training_caption(random_scene(rng), rng).lower())
    new = {"canvas", "backing", "backcloth", "finish", "painted", "version", "upon", "where"}
    assert not new & read
    assert new <= words_of(" ".join(HELD_OUT.frames + HELD_OUT.objects + HELD_OUT.backgrounds))


def test_a_caption_names_what_the_scene_shows() -> None:
    rng = Random(4)
    for index in range(2_000):
        scene = random_scene(rng)
        said = caption(scene, rng, held_out=index % 2 == 1).lower()
        stem = {"leaf": "lea"}.get(scene.object, scene.object)
        assert stem in said
        assert scene.colour in said
        assert scene.background in said


def test_there_are_hundreds_of_phrasings_and_empty_captions_for_guidance() -> None:
    rng, scene = Random(5), Scene("mug", "red", "blue")
    said = [training_caption(scene, rng) for _ in range(3_000)]
    assert len(set(said)) > 1_000
    assert 200 < said.count("") < 400
