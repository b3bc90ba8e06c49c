"""A team sees, marks and goes on with each other's work; nobody else sees any of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from imagegen.bootstrap import build
from imagegen.callers.key_file import change_keys
from imagegen.settings import Settings
from imagegen.web.app import create_app

TEAMS = {"ana": "spring", "ben": "spring", "cleo": None, "dan": "autumn", "spring": None}
BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "seed": 0}


class Person:
    def __init__(self, client: FlaskClient, key: str) -> None:
        self._client = client
        self._headers = {"X-API-Key": key}

    def get(self, path: str) -> TestResponse:
        return self._client.get(path, headers=self._headers)

    def post(self, path: str, **said: Any) -> TestResponse:
        return self._client.post(path, headers=self._headers, **said)


@pytest.fixture(scope="module")
def people(brands: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Person]]:
    folder = tmp_path_factory.mktemp("teams")
    keys = {}
    for name, team in TEAMS.items():

        def edit(known: Any, name: str = name, team: str | None = team) -> Any:
            return known.with_new(name, None, datetime.now(UTC), team)[::2]

        keys[name] = change_keys(folder / "keys.json", edit)
    application = build(
        Settings(
            model="fake", presets=str(brands), storage=f"file:{folder}/output", auth="keys",
            keys=str(folder / "keys.json"),
        )
    )  # fmt: skip
    application.start()
    application.engine.wait_ready(20)
    client = create_app(application).test_client()
    yield {name: Person(client, key) for name, key in keys.items()}
    application.stop()


def test_a_team_sees_and_marks_what_each_of_it_makes(people: dict[str, Person]) -> None:
    ana, ben = people["ana"], people["ben"]
    made = ana.post("/generate", json=BODY).get_json()
    path, page = f"/generations/{made['id']}", f"/library/{made['id']}/0"
    file = made["images"][0]["url"].removeprefix("http://localhost")
    for person in (ana, ben):
        assert person.get(path).get_json()["id"] == made["id"]
        assert person.get(file).status_code == 200
        assert person.get(page).status_code == 200
        listed = person.get("/generations").get_json()["generations"]
        assert made["id"] in [one["id"] for one in listed]
    assert ben.post(f"{path}/images/0/marks", json={"mark": "approved"}).status_code == 200
    [said] = ana.get(f"{path}/marks").get_json()["images"][0]["history"]
    assert (said["mark"], said["by"]) == ("approved", "ben")
    assert "ben" in ana.get(page).text
    for name in ("cleo", "dan", "spring"):
        other = people[name]
        for hidden in (path, f"{path}/marks", file, page):
            assert other.get(hidden).status_code == 404, (name, hidden)
        assert made["id"] not in other.get("/library").text
        refused = other.post(f"{path}/images/0/marks", json={"mark": "rejected"})
        assert refused.status_code == 404


def test_the_library_finds_who_made_it(people: dict[str, Person]) -> None:
    ids = {
        name: people[name].post("/generate", json=BODY | {"seed": 5}).get_json()["id"]
        for name in ("ana", "ben")
    }
    until_s = time.monotonic() + 10
    while not all(id_ in people["ana"].get("/library").text for id_ in ids.values()):
        assert time.monotonic() < until_s  # it shows what there was a second ago
        time.sleep(0.2)
    for name, other in (("ana", "ben"), ("ben", "ana")):
        found = people["ana"].get(f"/library?person={name}").text
        assert ids[name] in found
        assert ids[other] not in found


def test_a_campaign_is_the_team_s(people: dict[str, Person]) -> None:
    ana, ben = people["ana"], people["ben"]
    form = {"name": "spring", "text": "!slow a mug\n!slow a lamp", "brand": "aurora", "do": "start"}
    begun = ana.post("/campaigns", data=form)
    assert begun.status_code == 303
    address = begun.headers["Location"]
    assert "spring" in ben.get("/campaigns").text
    assert ben.get(address).status_code == 200
    assert ben.post(f"{address}/stop").status_code == 303
    assert people["dan"].get(address).status_code == 404
