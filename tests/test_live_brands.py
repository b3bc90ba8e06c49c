"""Brands of a bucket: taken at the start, followed by a running service, refused when broken."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fake_bucket import FakeBucket, running_bucket_server
from PIL import Image
from safetensors.numpy import save_file
from sample_brands import write_brands

from imagegen import cli, live_brands
from imagegen.application import Application
from imagegen.bootstrap import build, build_for_role
from imagegen.errors import InvalidPreset, InvalidSettings, StorageUnavailable
from imagegen.generation import AdapterUse, GenerationRequest
from imagegen.live_brands import UNKNOWN_LORAS, LiveBrands
from imagegen.settings import Settings
from imagegen.storage.bucket_folder import BucketFolder
from imagegen.storage.pushing import Push
from imagegen.web.app import create_app

BROKEN = "name: Pop\ncolour: red\n"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeBucket]:
    with running_bucket_server() as running:
        yield running


class Published:
    """A folder of brands, and where it is published."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = write_brands(folder), url

    def push(self) -> None:
        Push(self.folder).run(BucketFolder(self.url), lambda *_: None)

    def change(self, brand: str, old: str, new: str) -> None:
        preset = self.folder / brand / "preset.yaml"
        assert old in preset.read_text()
        preset.write_text(preset.read_text().replace(old, new))


@pytest.fixture
def brands(server: FakeBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    monkeypatch.setattr(live_brands, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(live_brands, "POLL_S", 0.1)
    published = Published(tmp_path / "brands", f"gs://{server.new()}/presets")
    published.push()
    return published


@pytest.fixture
def application(brands: Published, tmp_path: Path) -> Iterator[Application]:
    settings = Settings(model="fake", presets=brands.url, storage=f"file:{tmp_path}/output")
    made = build(settings)
    made.start()
    yield made
    made.stop()


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_running_service_follows_the_bucket(brands: Published, application: Application) -> None:
    """What is in flight keeps its version; what is broken is refused, and the old one serves."""
    service, catalog = application.service, application.catalog
    client = create_app(application).test_client()
    old = catalog.get("aurora").version
    slow = GenerationRequest(brand="aurora", prompt="!slow", num_inference_steps=12)
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(service.generate, slow)
        wait_for(lambda: application.engine.status().running > 0)
        brands.change("aurora", "aurora style", "northern style")
        (brands.folder / "pop" / "preset.yaml").write_text(BROKEN)
        brands.push()
        wait_for(lambda: catalog.get("aurora").version != old)
        assert not in_flight.done()
        new = service.generate(GenerationRequest(brand="pop", prompt="x"))
        assert new.brand == "pop"
        assert in_flight.result().preset_version == old
    after = service.generate(GenerationRequest(brand="aurora", prompt="x"))
    assert after.preset_version == catalog.get("aurora").version != old
    answer = client.get("/brands").get_json()
    assert [brand["id"] for brand in answer["brands"]] == ["aurora", "pop"]
    [refused] = answer["refused"]
    assert refused["brand"] == "pop"
    assert refused["reason"].startswith("pop/preset.yaml:2: colour: is not a known key")
    assert b"imagegen_preset_refused 1.0" in client.get("/metrics").data
    assert b"imagegen_preset_loaded_timestamp_seconds 1" in client.get("/metrics").data
    brands.change("pop", "colour: red\n", "")
    brands.push()
    wait_for(lambda: not catalog.refused)
    assert b"imagegen_preset_refused 0.0" in client.get("/metrics").data


def test_brands_come_and_go(brands: Published) -> None:
    live, source = LiveBrands(brands.url, None), BucketFolder(brands.url)
    (brands.folder / "pop").rename(brands.folder / "rock")
    brands.push()
    live.look(source)
    assert [preset.id for preset in live.catalog] == ["aurora", "rock"]


def test_loras_that_the_renderer_does_not_know_wait_for_another(
    brands: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words change at once; so do weights, and the LoRAs of a brand that had more of them."""
    live, source = LiveBrands(brands.url, None), BucketFolder(brands.url)
    read = live_brands.read_presets

    def with_lora(folder: Path, model_folder: Path | None) -> object:
        presets, faults = read(folder, model_folder)
        use = AdapterUse(folder / "aurora" / "new.safetensors", "0" * 64, 1.0)
        vars(presets[0]).update(adapters=(use,))
        return presets, faults

    monkeypatch.setattr(live_brands, "read_presets", with_lora)
    old = live.catalog.get("aurora")
    brands.change("aurora", "aurora style", "northern style")
    brands.change("pop", "Bold dots.", "Bolder dots.")
    brands.push()
    live.look(source)
    assert live.catalog.get("aurora") is old
    assert live.catalog.get("pop").description == "Bolder dots."
    assert live.catalog.refused == {"aurora": f"{UNKNOWN_LORAS}: nothing has been started"}
    again = LiveBrands(brands.url, None)  # after a restart
    assert not again.catalog.refused
    assert [use.sha256 for use in again.catalog.get("aurora").adapters] == ["0" * 64]
    brands.change("aurora", "northern style", "boreal style")
    brands.push()
    again.look(source)
    assert again.catalog.get("aurora").template.startswith("boreal")


def test_a_new_lora_renews_the_renderer_of_a_running_service(
    brands: Published, application: Application
) -> None:
    """A picture in flight ends first; then there is another process, and the brand changes."""
    engine, catalog, service = application.engine, application.catalog, application.service
    engine.wait_ready(60)
    before, old = engine.pid, catalog.get("aurora").version
    slow = GenerationRequest(brand="aurora", prompt="!slow", num_inference_steps=12)
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(service.generate, slow)
        wait_for(lambda: engine.status().running > 0)
        brands.change("aurora", "banned_terms:", "adapters: [{file: x.safetensors}]\nbanned_terms:")
        save_file({"x": np.ones((2, 2), np.float32)}, brands.folder / "aurora" / "x.safetensors")
        brands.push()
        wait_for(lambda: "aurora" in catalog.refused)
        assert engine.pid == before
        assert in_flight.result().preset_version == old
    wait_for(lambda: catalog.get("aurora").version != old)
    assert engine.pid not in (before, None)
    assert engine.status().deaths == 0
    assert not catalog.refused
    after = service.generate(GenerationRequest(brand="aurora", prompt="x"))
    assert after.preset_version == catalog.get("aurora").version


def test_the_pages_follow_the_bucket_too_and_need_no_renderer_for_it(
    brands: Published, tmp_path: Path
) -> None:
    settings = Settings(
        role="web",
        render_url="http://127.0.0.1:9",
        presets=brands.url,
        storage=f"file:{tmp_path}/output",
    )
    front = build_for_role(settings)
    client = create_app(front).test_client()
    front.start()
    try:
        shutil.copytree(brands.folder / "pop", brands.folder / "rock")
        brands.change("rock", "defaults:", "adapters: [{file: x.safetensors}]\ndefaults:")
        save_file({"x": np.ones((2, 2), np.float32)}, brands.folder / "rock" / "x.safetensors")
        (brands.folder / "pop" / "preset.yaml").write_text(BROKEN)
        brands.push()
        wait_for(lambda: "rock" in front.catalog)
        answer = client.get("/brands").get_json()
        metrics = client.get("/metrics").data
    finally:
        front.stop()
    assert {brand["id"] for brand in answer["brands"]} == {"aurora", "pop", "rock"}
    assert [refused["brand"] for refused in answer["refused"]] == ["pop"]
    assert b"imagegen_preset_refused 1.0" in metrics


@pytest.mark.torch
def test_a_new_lora_reaches_a_real_model(
    server: FakeBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    """The starter under another LoRA: the brand's pictures change, the others' do not."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    monkeypatch.setattr(live_brands, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(live_brands, "POLL_S", 0.1)
    shipped, folder = repository / "brand_presets", tmp_path / "brands"
    for brand in ("aurora", "pop"):
        shutil.copytree(shipped / brand, folder / brand)
    bucket = BucketFolder(f"gs://{server.new()}/presets")
    Push(folder).run(bucket, lambda *_: None)
    application = build(Settings(presets=bucket.url, storage=f"file:{tmp_path}/output"))
    catalog, service = application.catalog, application.service

    def drawn(brand: str) -> bytes:
        seen: list[bytes] = []
        asked = GenerationRequest(brand=brand, prompt="a mug", seed=0, num_inference_steps=2)
        service.generate(asked, on_image=lambda _, data: seen.append(data))
        return Image.open(io.BytesIO(seen[0])).tobytes()

    application.start()
    try:
        before, old = (drawn("aurora"), drawn("pop")), catalog.get("aurora").version
        shutil.copy(
            shipped / "botanic" / "botanic.safetensors", folder / "aurora" / "aurora.safetensors"
        )
        Push(folder).run(bucket, lambda *_: None)
        wait_for(lambda: catalog.get("aurora").version != old)
        after = drawn("aurora"), drawn("pop")
    finally:
        application.stop()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_version_that_is_no_folder_of_brands_is_refused_whole(brands: Published) -> None:
    live, source = LiveBrands(brands.url, None), BucketFolder(brands.url)
    before = list(live.catalog)
    source.write("manifest.json", b'{"files": [{"path": "../x", "size_bytes": 1}]}')
    live.look(source)
    assert list(live.catalog) == before
    assert "manifest.json" in live.catalog.refused[""]
    source.remove("manifest.json")
    live.look(source)
    assert list(live.catalog) == before
    assert "any more" in live.catalog.refused[""]
    brands.push()
    live.look(source)
    assert not live.catalog.refused


def test_what_is_mended_without_a_new_version_is_taken(
    brands: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows the refusal's advice leaves the manifest as it is."""
    live, source = LiveBrands(brands.url, None), BucketFolder(brands.url)
    brands.change("pop", "Bold dots.", "Bolder dots.")
    brands.push()
    preset = (brands.folder / "pop" / "preset.yaml").read_bytes()
    damaged = f"objects/{hashlib.sha256(preset).hexdigest()}"
    source.write(damaged, preset.replace(b"Bolder", b"Golder"))
    live.look(source)
    assert f"remove {damaged} and push again" in live.catalog.refused[""]
    source.remove(damaged)
    brands.push()
    live.look(source)
    assert live.catalog.refused, "not at every look"
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + live_brands.AGAIN_S)
    live.look(source)
    assert not live.catalog.refused
    assert live.catalog.get("pop").description == "Bolder dots."


def test_a_right_that_is_lost_is_told_and_comes_back(
    brands: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, source = LiveBrands(brands.url, None), BucketFolder(brands.url)
    live.look(source)

    def forbidden(*_: object) -> bytes:
        raise InvalidSettings("403: may not")

    with monkeypatch.context() as patch:
        patch.setattr(BucketFolder, "find", forbidden)
        live.look(source)
    assert live.catalog.refused == {"": "403: may not"}
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + live_brands.AGAIN_S)
    live.look(source)
    assert not live.catalog.refused


def test_what_could_not_be_reached_is_tried_again(
    brands: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, source = LiveBrands(brands.url, None), BucketFolder(brands.url)
    brands.change("pop", "Bold dots.", "Bolder dots.")
    brands.push()

    def unreachable(*_: object) -> bytes:
        raise StorageUnavailable("no way to the bucket", 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(BucketFolder, "read_range", unreachable)
        with pytest.raises(StorageUnavailable):
            live.look(source)
    assert not live.catalog.refused
    live.look(source)
    assert live.catalog.get("pop").description == "Bolder dots."


def test_at_the_start_a_broken_brand_does_not_take_the_others_along(brands: Published) -> None:
    (brands.folder / "pop" / "preset.yaml").write_text(BROKEN)
    brands.push()
    live = LiveBrands(brands.url, None)
    assert [preset.id for preset in live.catalog] == ["aurora"]
    assert set(live.catalog.refused) == {"pop"}
    (brands.folder / "aurora" / "preset.yaml").write_text(BROKEN)
    brands.push()
    with pytest.raises(InvalidPreset, match=r"(?s)aurora.*pop"):
        LiveBrands(brands.url, None)


def test_nothing_there_stops_the_start(brands: Published) -> None:
    with pytest.raises(InvalidSettings, match="nothing under"):
        LiveBrands(f"{brands.url}-2", None)


def test_presets_are_pushed_when_they_are_in_order(
    brands: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEGEN_PRESETS", str(brands.folder))
    monkeypatch.setenv("IMAGEGEN_MODEL", "fake")
    assert cli.main(["presets", "push", brands.url, "--json"]) == 0
    *files, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert {file["sent"] for file in files} == {False}
    assert (last["url"], last["sent_files"], last["changed"]) == (brands.url, 0, False)
    (brands.folder / "pop" / "preset.yaml").write_text(BROKEN)
    assert cli.main(["presets", "push", brands.url]) == 2
    assert "preset.yaml:2: colour" in capsys.readouterr().err
    monkeypatch.setenv("IMAGEGEN_PRESETS", brands.url)
    assert cli.main(["presets", "list"]) == 0
    assert "Bold dots." in capsys.readouterr().out
    assert cli.main(["presets", "push", brands.url]) == 2
    assert cli.main(["train-lora", "--brand", "pop", "--images", "."]) == 2


def test_a_model_is_pushed_with_a_line_for_each_file(
    brands: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    assert cli.main(["push-model", str(tmp_path / "model"), brands.url]) == 2
    assert "model_index.json" in capsys.readouterr().err
    (tmp_path / "model" / "model_index.json").write_text("{}")
    url = f"{brands.url}-model"
    assert cli.main(["push-model", str(tmp_path / "model"), url]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"sent  model_index.json\n{url}: published, 1 of 1 files sent, version ")
    assert cli.main(["push-model", str(tmp_path / "model"), url]) == 0
    assert "there  model_index.json" in capsys.readouterr().out
    assert cli.main(["push-model", str(tmp_path / "model"), "gs://"]) == 2
