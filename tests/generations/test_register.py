"""Where generations are kept: found by id, listed by owner, brand and campaign, rung for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sample_records import NOW, new_record

from imagegen.generation import GenerationRequest
from imagegen.generations import register as register_module
from imagegen.generations.register import ListQuery, Register
from imagegen.storage.record_folder import FolderRecords


@pytest.fixture
def store(tmp_path: Path) -> FolderRecords:
    return FolderRecords(tmp_path)


@pytest.fixture
def register(store: FolderRecords) -> Register:
    return Register(store)


def add(register: Register, number: int, **said: str | None) -> str:
    fields = {"brand": said.get("brand") or "aurora", "campaign": said.get("campaign")}
    record = new_record(
        id=f"gen_{number:020x}",
        owner=said.get("owner") or "",
        created_at=NOW + timedelta(seconds=number),
        request=GenerationRequest.model_validate(fields | {"prompt": "a mug", "seed": 1}),
    )
    register.index(record)
    assert register.create(record) is not None
    return record.id


def test_a_record_is_as_it_was_written(register: Register) -> None:
    record = new_record(owner="münchen 🍺")
    assert register.create(record) is not None
    held = register.find(record.id)
    assert held is not None
    assert held.record == record
    assert register.create(record) is None, "an id is given once"


@pytest.mark.parametrize("name", ["", "gen_", "../x", "gen_" + "0" * 20 + "/", "gen_ä", "x" * 999])
def test_what_is_no_id_finds_nothing(register: Register, name: str) -> None:
    assert register.find(name) is None


def test_what_is_no_record_is_passed_over(store: FolderRecords, register: Register) -> None:
    store.write(f"imagegen-generations/records/gen_{'0' * 20}.json", b'{"id": 1}', None)
    assert register.find("gen_" + "0" * 20) is None


def test_an_owner_sees_his_own_newest_first(register: Register) -> None:
    ids = [add(register, number, owner="anna") for number in range(5)]
    add(register, 9, owner="bert")
    first = register.page("anna", ListQuery(limit=3))
    assert list(first.ids) == ids[:1:-1]
    rest = register.page("anna", ListQuery(limit=3, cursor=first.cursor))
    assert list(rest.ids) == ids[1::-1]
    assert rest.cursor is None
    assert register.page("nobody", ListQuery()).ids == ()


def test_brand_and_campaign_filter(register: Register) -> None:
    spring = add(register, 1, campaign="Frühling/24 *")
    pop = add(register, 2, brand="pop", campaign="Frühling/24 *")
    plain = add(register, 3)
    assert register.page("", ListQuery(brand="aurora")).ids == (plain, spring)
    assert register.page("", ListQuery(campaign="Frühling/24 *")).ids == (pop, spring)
    assert register.page("", ListQuery(campaign="")).ids == ()


def test_a_filter_that_finds_little_gives_short_pages(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_module, "_NAMES_A_CALL", 2)
    monkeypatch.setattr(register_module, "_NAMES_A_PAGE", 3)
    rare = add(register, 0, brand="pop")
    for number in range(1, 8):
        add(register, number)
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = register.page("", ListQuery(brand="pop", cursor=cursor))
        found += page.ids
        cursor, pages = page.cursor, pages + 1
    assert found == [rare]
    assert pages == 3


def test_a_ring_is_heard(register: Register) -> None:
    record_id = "gen_" + "a" * 20
    register.ring(record_id)
    assert register.all_open() == {}, "what is not open cannot be rung for"
    register.open(record_id)
    before = register.all_open()[record_id]
    register.ring(record_id)
    assert register.all_open()[record_id] != before
    register.close(record_id)
    assert register.all_open() == {}
