"""Lineup: who moves in the next step; nobody starves, and no step has more rows than fit."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from imagegen.engine.lineup import GOOD_STEPS_TO_GROW, Lineup
from imagegen.engine.messages import Render
from imagegen.generation import RowLimits

ANN, BOB, CYD = 0, 1, 2


class Flights:
    """Pictures in flight that never arrive."""

    def __init__(self, make_spec, rows: int) -> None:
        self._make_spec = make_spec
        self._numbers = itertools.count()
        self.lineup = Lineup(RowLimits(((1_024, rows),)))
        self.here: dict[int, Render] = {}

    def add(self, share: int, count: int = 1, deadline_at: float = 9.0, **fields) -> list[int]:
        numbers = list(itertools.islice(self._numbers, count))
        spec = self._make_spec(**({"width": 32, "height": 32} | fields))
        for number in numbers:
            self.here[number] = Render(number, spec, share, deadline_at, previews=False)
        return numbers

    def turn(self) -> list[int]:
        return self.lineup.choose(list(self.here.values()))


@pytest.fixture
def flights(make_spec) -> Flights:
    return Flights(make_spec, rows=8)


def test_one_shape_moves_together_whatever_else_differs(flights):
    flights.add(ANN, guidance_scale=1.0)
    flights.add(BOB, num_inference_steps=50, brand="pop")
    assert sorted(flights.turn()) == [0, 1]


def test_rows_are_counted_not_pictures(flights):
    flights.add(ANN, 3)
    flights.add(ANN, 4, guidance_scale=1.0)
    assert sorted(flights.turn()) == [0, 1, 2, 3, 4], "three guided ones and two that are not"


def test_a_picture_that_does_not_fit_leaves_its_place_to_a_smaller_one(make_spec):
    flights = Flights(make_spec, rows=3)
    flights.add(ANN, 2)
    [bare] = flights.add(ANN, guidance_scale=1.0)
    assert flights.turn() == [0, bare]


def test_shapes_take_turns(flights):
    flights.add(ANN)
    flights.add(ANN, width=64)
    flights.add(ANN, height=64)
    turns = [flights.turn() for _ in range(6)]
    assert turns == [[0], [1], [2]] * 2


def test_width_and_height_are_not_the_same_shape(flights):
    flights.add(ANN, width=64, height=16)
    flights.add(ANN, width=16, height=64)
    assert len(flights.turn()) == 1


def test_exact_pictures_are_alone_even_with_their_like(flights):
    flights.add(ANN, 2, exact=True)
    flights.add(ANN, 2)
    assert sorted(map(sorted, (flights.turn() for _ in range(3)))) == [[0], [1], [2, 3]]


def test_a_share_of_many_shapes_gets_no_more_turns_than_one_of_one(flights):
    for width in (8, 16, 24):
        flights.add(ANN, width=width)
    flights.add(BOB, width=64)
    turns = [flights.turn() for _ in range(6)]
    assert turns == [[0], [3], [1], [3], [2], [3]]


def test_the_rows_beside_the_leader_s_are_dealt_across_shares(flights):
    flights.add(ANN, 8)
    flights.add(BOB, 8)
    flights.add(CYD, 1)
    shares = sorted(flights.here[number].share for number in flights.turn())
    assert shares == [ANN, ANN, BOB, CYD]


def test_a_newcomer_among_many_callers_moves_at_once(make_spec):
    flights = Flights(make_spec, rows=16)
    for share in range(8):
        flights.add(share, guidance_scale=5.0)
    flights.turn()
    [late] = flights.add(8, guidance_scale=5.0)
    assert late in flights.turn()
    left_out = [set(flights.here) - set(flights.turn()) for _ in range(20)]
    assert all(len(one) == 1 for one in left_out)
    assert all(a != b for a, b in itertools.pairwise(left_out)), "who waited moves in the next turn"


def test_within_a_share_the_urgent_go_first_and_then_the_old(flights):
    flights.add(ANN, 1, deadline_at=9.0)
    flights.add(ANN, 4, deadline_at=8.0)
    flights.add(ANN, 1, deadline_at=7.0)
    assert flights.turn() == [0, 5, 1, 2], "the leader has waited longest"


def test_a_newcomer_of_another_shape_moves_within_two_turns(flights):
    flights.add(ANN, 4)
    for _ in range(3):
        flights.turn()
    [single] = flights.add(BOB, width=64)
    assert single in flights.turn() + flights.turn()


def test_nobody_starves_however_many_newcomers_keep_arriving(flights):
    flights.add(ANN, exact=True)
    flights.add(BOB, 3, width=16)
    moved = []
    for turn in range(200):
        flights.add(CYD + turn, exact=turn % 2 == 0)
        flights.add(BOB, deadline_at=-turn)
        moved.append(flights.turn())
    steps = [number for turn in moved[10:] for number in turn]
    assert {0, 1, 2, 3} <= set(steps), "also when all had their first turn"


def test_out_of_memory_is_remembered_for_its_size_until_there_is_nothing_to_do(flights):
    flights.add(ANN, 4)
    flights.add(ANN, 4, height=16)
    flights.lineup.shrink([flights.here[number].spec for number in flights.turn()])
    assert [len(flights.turn()) for _ in range(4)] == [4, 2, 4, 2]
    flights.lineup.shrink([flights.here[0].spec])
    assert [len(flights.turn()) for _ in range(2)] == [4, 2], "its own fault is no lesson"
    flights.lineup.shrink([replace(flights.here[0].spec, guidance_scale=1.0)] * 2)
    assert [len(flights.turn()) for _ in range(2)] == [4, 1], "a leader always moves"
    flights.lineup.idle()
    assert [len(flights.turn()) for _ in range(2)] == [4, 4]


def good_steps(flights: Flights, count: int, **fields) -> None:
    [number] = flights.add(ANN, **fields)
    spec = flights.here.pop(number).spec
    for _ in range(count):
        flights.lineup.fitted(spec)


def test_after_good_steps_of_its_size_a_smaller_limit_doubles_until_it_is_the_full_one(make_spec):
    flights = Flights(make_spec, rows=14)
    flights.add(ANN, 9)
    specs = [flights.here[number].spec for number in flights.turn()]
    flights.lineup.shrink(specs)
    flights.lineup.shrink(specs[:3])
    assert len(flights.turn()) == 1, "three rows"
    good_steps(flights, GOOD_STEPS_TO_GROW - 1)
    good_steps(flights, GOOD_STEPS_TO_GROW, height=16)
    assert len(flights.turn()) == 1, "another size's steps say nothing about this one"
    pictures = []
    for _ in range(4):
        good_steps(flights, 1)
        pictures.append(len(flights.turn()))
        good_steps(flights, GOOD_STEPS_TO_GROW - 1)
    assert pictures == [3, 6, 7, 7]


def test_out_of_memory_begins_the_count_of_good_steps_again(flights):
    flights.add(ANN, 4)
    specs = [flights.here[number].spec for number in flights.turn()]
    flights.lineup.shrink(specs)
    good_steps(flights, GOOD_STEPS_TO_GROW - 1)
    flights.lineup.shrink(specs)
    good_steps(flights, GOOD_STEPS_TO_GROW - 1)
    assert len(flights.turn()) == 2
    good_steps(flights, 1)
    assert len(flights.turn()) == 4
