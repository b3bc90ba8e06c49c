"""A record's states only move forward, whoever changes it, in whatever order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sample_records import new_record

from imagegen import errors
from imagegen.errors import FieldError, ImagegenError
from imagegen.generation import Generation
from imagegen.generations.records import Failure, GenerationRecord, Settled
from imagegen.generations.register import Held, Register
from imagegen.storage.record_folder import FolderRecords

ORDER = ("queued", "running", "succeeded", "failed", "cancelled")


def generation(record: GenerationRecord) -> Generation:
    return record.generation().model_copy(update={"status": "succeeded", "model": "fake"})


class Changes(RuleBasedStateMachine):
    """Two instances that change one record, each with what it saw last."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        store = FolderRecords(Path(self._folder.name))
        self.registers = (Register(store), Register(store))
        held = self.registers[0].create(new_record())
        assert held is not None
        self.seen: list[Held] = [held, held]
        self.known = held.record

    def teardown(self) -> None:
        self._folder.cleanup()

    @rule(
        who=st.integers(0, 1),
        what=st.sampled_from(
            ["begun", "renew", "adopt", "release", "wish", "succeed", "fail", "cancel"]
        ),
    )
    def change(self, who: int, what: str) -> None:
        def apply(record: GenerationRecord) -> GenerationRecord:
            changes = {
                "begun": record.begun,
                "renew": lambda: record.renewed(20.0),
                "adopt": lambda: record.adopted(f"{who}", 30.0),
                "release": lambda: record.released(0.0, unharmed=True),
                "wish": record.cancel_asked,
                "succeed": lambda: record.succeeded(generation(record)),
                "fail": lambda: record.failed(Failure(code="render_failed", detail="no")),
                "cancel": record.cancelled,
            }
            return changes[what]()

        try:
            self.seen[who] = self.registers[who].change(self.seen[who], apply)
        except Settled:
            assert not self.known.is_open

    @invariant()
    def it_only_moves_forward(self) -> None:
        held = self.registers[0].find(self.known.id)
        assert held is not None
        now = held.record
        assert ORDER.index(now.status) >= ORDER.index(self.known.status)
        if not self.known.is_open:
            assert now == self.known, "what has ended stays as it is"
        else:
            assert now.term >= self.known.term
            assert now.cancel_wanted >= self.known.cancel_wanted
        assert now.is_open or now.lease is None
        self.known = now


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)


def test_a_lease_is_somebodys_until_its_time_is_over() -> None:
    record = new_record()
    assert record.is_held_by("one")
    assert not record.is_free(14.9)
    assert record.is_free(15.0)
    assert record.released(20.0, unharmed=False).is_free(20.0)
    assert not record.cancelled().is_free(99.0)


def test_an_attempt_that_was_nobodys_fault_does_not_count() -> None:
    adopted = new_record().adopted("two", 30.0)
    assert (adopted.attempt, adopted.term) == (2, 1)
    assert adopted.released(0.0, unharmed=True).attempt == 1
    assert adopted.released(0.0, unharmed=False).attempt == 2


@pytest.mark.parametrize(
    "error",
    [
        errors.RenderFailed("not finite"),
        errors.DeadlineExceeded("late"),
        errors.StorageUnavailable("gone", 3.0),
        errors.InvalidRequest(FieldError("width", "is too wide"), FieldError("height", "too")),
        errors.BannedTerm(FieldError("prompt", "casino")),
        errors.Quarantined("twice"),
    ],
)
def test_a_failure_becomes_the_error_again(error: ImagegenError) -> None:
    again = Failure.model_validate_json(Failure.of(error).model_dump_json()).error()
    assert type(again) is type(error)
    assert (again.code, again.detail) == (error.code, error.detail)
    assert getattr(again, "fields", ()) == getattr(error, "fields", ())


def test_what_nobody_foresaw_tells_nothing_of_itself() -> None:
    failure = Failure.of(ZeroDivisionError("a secret"))
    assert failure.code == "internal_error"
    assert "secret" not in failure.detail
    assert isinstance(failure.error(), errors.RenderFailed)
