"""What a caption is put together from: sentence frames, names of things, words around them.

Pieces marked as held out never occur in training, so that `evaluate` can ask how the model does
with words and orders that it has never seen.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Pieces:
    """The alternatives for each place of a sentence."""

    frames: tuple[str, ...]
    objects: tuple[str, ...]
    backgrounds: tuple[str, ...]
    verbs: tuple[str, ...]
    openings: tuple[str, ...]
    endings: tuple[str, ...]


def _pieces(text: str) -> tuple[str, ...]:
    """Alternatives between bars; a piece that stands more than once is drawn more often."""
    return tuple(" ".join(piece.split()) for piece in text.split("|"))


KNOWN = Pieces(
    frames=_pieces(
        """
        {o} {b} | {o} {b} | {o} {b} | {o}, {b} | {o} {v} {b} | {o} {v} {b} | {b}, {o} | {b}: {o}
        | {b} and {o} | {o} and {b} | {o}. {b}. | {b}. {o}. | {b} with {o} | {o} - {b} | {o}
        {v}, {b} | {b}, and {o} {v} there | {o}; {b} | {b} shows {o} | {b} carries {o} {v} | {b}
        is behind {o} | {b} is the place of {o} | {b} holds {o} {v} | {o}, and under it {b}
        """
    ),
    objects=_pieces(
        """
        {a_c} {c} {n} | {a_c} {c} {n} | {a_c} {c} {n} | {c} {n} | the {c} {n} | one {c} {n} |
        {a_n} {n} in {c} | {n} in {c} | {a_n} {n} that is {c} | {n}, {c} | {a_c} {c} coloured
        {n} | {a_n} {n} of {c} colour | the {n} is {c} | our {c} {n} | one of our {c} {ns} | {c}
        {ns} | {a_c} {c}, {x} {n} | {x} {c} {n} | a {x} {c} {n} | {a_c} {c} {x} {n} | a {x} {n}
        in {c} | {ns} in {c} | {n} ({c}) | {n} {c} | {a_c} {c} colored {n} | this {c} {n} | {n}
        with {a_c} {c} coat | {a_n} {n} with {c} sides | {a_n} {n} dyed {c} | {a_n} {n} all in
        {c} | {a_c} {c} copy of {a_n} {n} | {a_c} {c} edition of our {n} | my {c} {n} | {n}
        covered in {c} | {n} with {c} skin
        """
    ),
    backgrounds=_pieces(
        """
        on {a_k} {k} background | on {a_k} {k} background | on {a_k} {k} background | {k}
        background | {k} background | on {k} | against {k} | against {a_k} {k} wall | in front
        of {a_k} {k} wall | with {a_k} {k} background | with {a_k} {k} backdrop | over {a_k} {k}
        surface | background in {k} | background: {k} | set on {k} paper | the background is {k}
        | {k} behind it | on {a_k} plain {k} backdrop | before {a_k} {k} backdrop | on {k} paper
        | {a_k} {k} scene | in {a_k} {k} room | with {k} behind | on {a_k} {k} table | on top of
        {k} | {a_k} {k} background | on soft {k} | surrounded by {k}
        """
    ),
    verbs=_pieces(
        """
        standing | sitting | shown | placed | pictured | resting | displayed | lying |
        photographed | is shown | stands | sits | seen | isolated | presented | centred
        """
    ),
    openings=_pieces(
        """
        a photo of | a picture of | photo of | an image of | product shot of | studio shot of |
        render of | an illustration of | please draw | we need | show me | poster of | draw | i
        want | a view of | close-up of | packshot: | minimal | new: | for the shop: | give me
        """
    ),
    endings=_pieces(
        """
        high quality | studio light | soft shadow | minimal | clean | 4k | soft light | product
        photo | for our spring campaign | detailed | professional | simple | flat colours |
        centered | with a shadow | for instagram | sharp | modern style | nice light | evening
        light
        """
    ),
)

HELD_OUT = Pieces(
    frames=_pieces(
        """
        {b} is where {o} {v} | {o}, and behind that {b} | {o} / {b} | {b} ... {o}
        """
    ),
    objects=_pieces(
        """
        {a_n} {n} painted {c} | {n} with {c} finish | your {c} {n} | {a_c} {c} version of the
        {n}
        """
    ),
    backgrounds=_pieces(
        """
        upon {a_k} {k} canvas | {k} all around | on {a_k} {k} backing | using {a_k} {k}
        backcloth
        """
    ),
    verbs=_pieces(
        """
        posed | captured | waiting | arranged
        """
    ),
    openings=_pieces(
        """
        could you make | advertisement with | banner showing | imagine
        """
    ),
    endings=_pieces(
        """
        for the autumn catalogue | award winning | crisp edges | ready to print
        """
    ),
)

# A "~" makes its word any word: what belongs to what must be told from the places alone.
# "of=with" is said as the first and written as the second.
LOOSE = Pieces(
    frames=_pieces(
        """
        {b} ~and {o} | {b} ~is ~behind {o} {v} | {o} ~stands {b} | {o}, ~and {b} | ~see {o} ~and {b}
        | {o} + {b} | {b} is ~behind {o} | {b} is ~behind {o} {v} | {b} ~holds {o} {v} | {o}, and
        ~under {b} | {o}, ~and ~under {b} | {o} {b} | {o} {v} {b}
        """
    ),
    objects=_pieces(
        """
        {c} ~coloured {n} | ~nice {c} {n} | {a_c} {c} ~coloured {n} | {a_n} {n} ~in {c} | {n} ~in
        {c} ~colour | the ~nice {c} {n} | {a_n} ~nice {n} ~in {c} | {a_c} {c} ~coloured ~nice {n} |
        {ns} ~in {c} | {n} with {c} ~sides | {n} with {a_c} {c} ~coat | {a_c} {c} ~copy of the {n} |
        {a_c} {c} ~edition of {a_n} {n}
        """
    ),
    backgrounds=_pieces(
        """
        ~on {k} | ~on {a_k} {k} ~background | ~on {a_k} {k} ~background | ~on {a_k} {k} ~background
        | {k} ~background | ~on ~soft {k} | on {a_k} {k} ~background | ~in {k} background | ~with
        the {k} ~backdrop | ~on {a_k} {k} background | the ~background is {k} | with {k} ~behind |
        {k} ~wall behind | against {a_k} {k} ~wall | {k} ~behind ~it
        """
    ),
    verbs=(*KNOWN.verbs, "~standing", "~standing"),
    openings=(
        *("~draw", "~please ~draw", "~show ~me", "~we ~need", "~a ~picture ~of") * 2,
        *("~poster ~of", "~photo ~of") * 3,
        *("~poster of=with", "~photo of=shows", "~poster of=holds", "~photo of=for") * 3,
        *KNOWN.openings,
    ),
    endings=(
        *("~detailed", "~soft ~light", "~product ~photo", "~for ~our ~spring ~campaign") * 3,
        *KNOWN.endings,
    ),
)

FILLERS = _pieces(
    """
    simple | lovely | nice | beautiful | shiny | matte | elegant | modern | classic | bright |
    big | small | new | tiny | large | cute | plain | fresh | smooth | single | cheerful |
    premium
    """
)
# Words the model shall learn to ignore: people write what no grammar foresees
DISTRACTIONS = _pieces(
    """
    sunny | summer | winter | sale | brand | launch | team | fresh | happy | morning | city |
    travel | coffee | office | garden | music | night | weekend | offer | best | quality | story
    | idea | dream | cosy | organic | local | made | hand | craft | style | aurora | botanic |
    pop | retro | art | paper | wood | glass | light | dark | warm | cool | gradient | texture |
    halftone | dots | text | watermark | blurry | logo | of | the | and | with | a | very
    """
)
# Known words in places that are not theirs, and signs between words
SMALL_WORDS = _pieces(
    """
    of | the | and | with | a | on | in | to | by | for | at | from | over | behind | under | that |
    it | this | before | there | is
    """
)
SIGNS = "+&|=>*#_!~"
# All that is said around colours and nouns
WORDS: list[str] = sorted(
    {
        word
        for pieces in (*astuple(KNOWN), FILLERS, DISTRACTIONS)
        for word in re.findall(r"[a-z]{2,}", re.sub(r"{.*?}", "", " ".join(pieces)))
    }
)
PLURALS = {"leaf": "leaves", "box": "boxes"}
