"""Who is inside, and how long the way out takes."""

import time

import pytest

from imagegen.door import Door
from imagegen.errors import Draining


def test_a_closed_door_refuses_and_those_inside_go_on() -> None:
    door = Door()
    with door.entered():
        door.close()
        assert (door.inside, door.closed) == (1, True)
        with pytest.raises(Draining) as refused, door.entered():
            pass
        assert refused.value.retry_after_s == 1
        assert door.inside == 1
    assert door.inside == 0


def test_who_fails_has_left_too() -> None:
    door = Door()
    with pytest.raises(RuntimeError), door.entered():
        raise RuntimeError
    assert door.inside == 0


def test_the_way_out_is_what_the_slowest_of_the_last_ones_took() -> None:
    door = Door(keep_s=5.0)
    with door.keeping():
        pass
    assert door.keep_s == 12.5, "its record too, and a quarter more: the next one may be slower"
    for _ in range(20):
        with door.keeping():
            pass
    assert 6.25 <= door.keep_s < 7
    for _ in range(20):
        with door.recording():
            pass
    assert door.keep_s < 1


def test_what_would_not_be_stored_in_time_does_not_begin() -> None:
    door = Door(keep_s=2.5)
    door.close(time.monotonic() + 60)
    with door.keeping():
        pass
    door.close()  # said once more, without a time
    door.close(time.monotonic() + 6)
    with pytest.raises(Draining), door.keeping():
        pytest.fail("the store takes longer")
