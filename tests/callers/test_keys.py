"""API keys: what is kept, whose they are, and the file that several change at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagegen import cli
from imagegen.callers.key_file import change_keys, read_keys
from imagegen.callers.keys import Keys, id_of
from imagegen.errors import InvalidCallers

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_a_key_opens_for_its_caller_and_only_its_hash_is_kept() -> None:
    keys, stored, key = Keys().with_new("shop", frozenset({"aurora"}), NOW)
    assert re.fullmatch(r"ig_[a-z2-9]{8}_[A-Za-z0-9_-]{43}", key)
    assert id_of(key) == stored.id
    kept = keys.model_dump_json()
    assert key not in kept
    assert key.split("_", 2)[2] not in kept
    again = Keys.parse(kept.encode())
    caller = again.caller_of(key)
    assert caller is not None
    assert (caller.name, caller.brands, caller.owner) == ("shop", {"aurora"}, "shop")


def test_whatever_is_not_the_key_opens_nothing() -> None:
    keys, stored, key = Keys().with_new("shop", None, NOW)
    secret = key.split("_", 2)[2]
    for wrong in (
        "", "ig", "ig_", f"ig_{stored.id}", f"ig_{stored.id}_", f"ig_{stored.id}_{secret[:-1]}",
        f"{key}x", key.upper(), f" {key}", f"ig_zzzzzzzz_{secret}", f"ig__{secret}",
        stored.sha256, f"ig_{stored.id}_{stored.sha256}", "\ud800", "ключ", "ig_" + "_" * 5_000,
    ):  # fmt: skip
        assert keys.caller_of(wrong) is None, wrong


def test_two_keys_live_at_a_time_so_that_one_can_replace_the_other() -> None:
    keys, first, old = Keys().with_new("shop", None, NOW)
    keys, _, new = keys.with_new("shop", None, NOW)
    assert all(keys.caller_of(key) for key in (old, new))
    with pytest.raises(InvalidCallers, match=first.id):
        keys.with_new("shop", None, NOW)
    keys.with_new("another", None, NOW)
    keys, gone = keys.without(first.id)
    assert gone == first
    assert keys.caller_of(old) is None
    assert keys.caller_of(new) is not None
    keys.with_new("shop", None, NOW)
    with pytest.raises(InvalidCallers, match="no key has the id"):
        keys.without(first.id)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"keys": {}}', '{"keys": [], "more": 1}', "[" * 100_000,
        '{"keys": [{"id": "abcdefgh"}]}',
        '{"keys": [{"id": "../../..", "caller": "x", "sha256": "", "created_at": "now"}]}',
    ],
)  # fmt: skip
def test_a_faulty_file_is_told_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidCallers, match="not a file of API keys: "):
        Keys.parse(text.encode())


def test_two_keys_with_one_id_are_refused() -> None:
    _, stored, _ = Keys().with_new("shop", None, NOW)
    text = json.dumps({"keys": [json.loads(stored.model_dump_json())] * 2})
    with pytest.raises(InvalidCallers, match="the same id"):
        Keys.parse(text.encode())


def create(path: Path, caller: str) -> None:
    change_keys(path, lambda keys: (keys.with_new(caller, None, NOW)[0], None))


def test_several_change_the_file_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    spawn = multiprocessing.get_context("spawn")
    several = [spawn.Process(target=create, args=(path, f"caller-{n}")) for n in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join(60)
    assert {key.caller for key in read_keys(path).keys} == {f"caller-{n}" for n in range(4)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_change_that_fails_changes_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    create(path, "shop")
    path.chmod(0o640)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        create(path, "other")
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"keys.json", ".keys.json.lock"}
    create(path, "other")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640, "whoever could read it still can"


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    create(tmp_path / "real" / "keys.json", "shop")
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "real" / "keys.json")
    create(link, "other")
    assert link.is_symlink()
    assert len(read_keys(tmp_path / "real" / "keys.json").keys) == 2


# The command


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGEGEN_KEYS", str(tmp_path / "keys.json"))
    return tmp_path / "keys.json"


def test_create_list_and_revoke(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "list"]) == 0
    assert cli.main(["keys", "create", "--caller", "shop", "--brands", "pop, aurora"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    assert read_keys(path).caller_of(key) is not None
    assert key not in said.err
    assert "shop: aurora, pop. It is shown this once" in said.err
    assert cli.main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith(id_of(key))
    assert key not in listed
    assert cli.main(["keys", "revoke", id_of(key)]) == 0
    assert read_keys(path).keys == ()


def test_for_machines(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["keys", "create", "--caller", "ann@example.com", "--json"])
    made = json.loads(capsys.readouterr().out)
    cli.main(["keys", "list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert made == {"key": made["key"], **listed}
    assert (listed["caller"], listed["brands"]) == ("ann@example.com", None)
    cli.main(["keys", "revoke", listed["id"], "--json"])
    assert json.loads(capsys.readouterr().out) == listed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["create", "--caller", "The Shop"], "cannot be a caller's or a team's name"),
        (["create", "--caller", "ann", "--team", "Us"], "'Us' cannot be"),
        (["create", "--caller", "shop", "--brands", ""], "no brand can be called so"),
        (["create", "--caller", "shop", "--brands", "Aurora,pop"], "'Aurora'"),
        (["revoke", "zzzzzzzz"], "no key has the id"),
        (["revoke"], "required: ID"),
    ],
)
def test_what_it_refuses(
    path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    try:
        code = cli.main(["keys", *words])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not path.exists()


def test_a_third_key_is_refused_by_the_command(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["keys", "create", "--caller", "shop"]
    assert [cli.main(words) for _ in range(3)] == [0, 0, 2]
    assert "shop has 2 keys already" in capsys.readouterr().err
