"""Says in words what a scene shows: a small grammar with hundreds of phrasings.

A phrasing is a sentence frame, a way to name the object, a way to name the background, and optional
words around them, all of them from `phrasings.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from random import Random

from imagegen.starter.phrasings import (
    DISTRACTIONS,
    FILLERS,
    HELD_OUT,
    KNOWN,
    LOOSE,
    PLURALS,
    SIGNS,
    SMALL_WORDS,
    WORDS,
    Pieces,
)
from imagegen.starter.scenes import Scene


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def caption(scene: Scene, rng: Random, *, held_out: bool = False, colours: bool = True) -> str:
    """A full caption. Held-out phrasings contain at least two pieces that training never saw.

    With `colours` false the words leave the background out, as people do.
    """
    odd = rng.sample(["frames", "objects", "backgrounds"], 2) if held_out else []
    return _say(scene, rng, HELD_OUT if held_out else KNOWN, odd, colours=colours)


def _say(
    scene: Scene, rng: Random, around: Pieces, odd: Collection[str], *, colours: bool = True
) -> str:
    """A sentence of known pieces, but of those of `around` for the places in `odd`."""
    pick = {
        place: rng.choice(getattr(around if place in odd else KNOWN, place))
        for place in ("frames", "objects", "backgrounds")
    }
    noun = scene.object
    plural = PLURALS.get(noun, noun + "s")
    thing = pick["objects"].format(
        a_c=_article(scene.colour),
        a_n=_article(noun),
        c=scene.colour,
        n=noun,
        ns=plural,
        x=rng.choice(FILLERS),
    )
    behind = pick["backgrounds"].format(a_k=_article(scene.background), k=scene.background)
    if colours:
        sentence = pick["frames"].format(o=thing, b=behind, v=rng.choice(around.verbs))
    else:
        sentence = thing
    return _dress(sentence, around, rng)


def _dress(sentence: str, around: Pieces, rng: Random) -> str:
    """Adds an opening, an ending and capitals now and then."""
    if rng.random() < 0.3:
        sentence = f"{rng.choice(around.openings)} {sentence}"
    if rng.random() < 0.3:
        sentence = f"{sentence}, {rng.choice(around.endings)}"
    case = rng.random()
    if case < 0.2:
        sentence = sentence[0].upper() + sentence[1:]
    elif case < 0.25:
        sentence = sentence.title()
    return sentence + ("." if rng.random() < 0.15 else "")


def training_caption(scene: Scene, rng: Random) -> str:
    """What the denoiser reads while training: plain, full of strange words, or noisy."""
    share = rng.random()
    if share < 0.39:
        return plain_caption(scene, rng)
    if share < 0.85:
        return " ".join(word for _, word in strangely(loose_caption(scene, rng), rng))
    return _with_distractions(caption(scene, rng), rng)


def plain_caption(scene: Scene, rng: Random) -> str:
    """In known words only: full, partial, or empty, for guidance."""
    share = rng.random()
    if share < 0.26:
        return ""
    if share < 0.44:
        return caption(scene, rng, colours=False)
    if share < 0.54:
        return rng.choice(KNOWN.backgrounds).format(
            a_k=_article(scene.background), k=scene.background
        )
    if share < 0.62:
        return rng.choice((scene.object, f"a {scene.object}", f"{scene.object}s"))
    return caption(scene, rng)


def loose_caption(scene: Scene, rng: Random) -> str:
    """A full caption in which "~" marks the words in whose place any word could stand."""
    odd = rng.sample(["objects", "backgrounds", "frames"], rng.randint(1, 3))
    return _say(scene, rng, LOOSE, odd)


def strangely(loose: str, rng: Random) -> list[tuple[str, str]]:
    """The caption's words as a plain speaker says them and as somebody else may write them.

    In the place of a marked word stand one or two that mean nothing here.
    """
    return [
        (word, " ".join(stray(rng) for _ in range(rng.choice((1, 1, 1, 2)))))
        if mark
        else (word, instead or word)
        for mark, word, instead in re.findall(r"(~?)([\w-]+|[^\w\s~=]+)(?:=(\w+))?", loose)
    ]


def _with_distractions(words: str, rng: Random) -> str:
    """Puts one to four words that mean nothing here before, after or between."""
    noise = [stray(rng) for _ in range(rng.randint(1, 4))]
    place = rng.random()
    if place < 0.4:
        return f"{' '.join(noise)}, {words}"
    if place < 0.8:
        return f"{words}, {' '.join(noise)}"
    split = words.split()
    at = rng.choice([0, len(split)])
    return " ".join(split[:at] + noise[:1] + split[at:])


def stray(rng: Random) -> str:
    """A word that means nothing here; most do not exist, so that no token stays unmet."""
    share = rng.random()
    if share < 0.30:
        return rng.choice(DISTRACTIONS)
    if share < 0.42:
        return rng.choice(SMALL_WORDS)
    if share < 0.50:
        return rng.choice(SIGNS)
    if share < 0.83:  # one word's beginning and another's end, as in words not thought of
        front, back = rng.choice(WORDS), rng.choice(WORDS)
        return front[: rng.randint(2, len(front))] + back[-rng.randint(2, len(back)) :]
    syllables = rng.randint(1, 3)
    return "".join(rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") for _ in range(syllables))
