"""The use case, with a real render process that draws gradients."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sample_brands import write_brands
from sent_pictures import file_of, half_mask, scene, sent

from imagegen.callers import NOBODY, Caller
from imagegen.door import Door
from imagegen.edits import SentPicture
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.process import Preview, Progress, RenderProcess
from imagegen.errors import (
    BannedTerm,
    Cancelled,
    DeadlineExceeded,
    Draining,
    InvalidRequest,
    ModelLoading,
    QueueFull,
    RenderFailed,
    StorageUnavailable,
    UnknownBrand,
)
from imagegen.generation import GeneratedImage, Generation, GenerationRequest, OutputFormat
from imagegen.keeping import PictureKeeper, exists_for
from imagegen.metrics import Metrics
from imagegen.presets import PresetCatalog
from imagegen.provenance import read_record
from imagegen.service import ImageService
from imagegen.settings import Settings
from imagegen.storage import open_storage

MAX_QUEUE = 8
Make = Callable[..., ImageService]


def asked(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"brand": "aurora", "prompt": "a mug"} | fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def make_service(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    settings = Settings(model="fake", max_queue=MAX_QUEUE, usd_per_hour=3_600)
    catalog = PresetCatalog.load(write_brands(tmp_path_factory.mktemp("brands")))

    def make(
        engine: RenderProcess, storage: str = f"file:{folder}", max_queue: int = MAX_QUEUE
    ) -> ImageService:
        keeper = PictureKeeper(open_storage(storage), "proxy")
        own = settings.model_copy(update={"max_queue": max_queue})
        return ImageService(own, catalog, engine, keeper, Metrics(), Door())

    return make


@pytest.fixture(scope="module")
def engine() -> Iterator[RenderProcess]:
    engine = RenderProcess(FakeRenderer, max_queue=MAX_QUEUE)
    engine.start()
    yield engine
    engine.stop(0)


@pytest.fixture(scope="module")
def service(make_service: Make, engine: RenderProcess) -> ImageService:
    return make_service(engine)


def test_eight_pictures_each_with_its_own_seed(service: ImageService, folder: Path) -> None:
    files: dict[GeneratedImage, bytes] = {}
    generation = service.generate(asked(seed=0, num_images=8), on_image=files.__setitem__)
    assert [image.seed for image in generation.images] == list(range(8))
    assert len({image.sha256 for image in generation.images}) == 8
    for image in generation.images:
        data = (folder / image.url.removeprefix("/images/")).read_bytes()
        assert data == files[image]
        assert hashlib.sha256(data).hexdigest() == image.sha256
        assert (image.width, image.height, image.size_bytes) == (64, 40, len(data))
        record = read_record(data)
        assert record is not None
        assert record["seed"] == image.seed
    assert generation.usage.steps == 24


def test_a_picture_is_made_of_another(service: ImageService, folder: Path) -> None:
    picture = scene(96, 64)
    generation = service.generate(
        asked(init_image=sent(picture), mask=sent(half_mask(96, 64)), strength=0.4, num_images=2)
    )
    assert generation.usage.steps == 2, "0.4 of 3 steps, twice"
    for image in generation.images:
        assert (image.width, image.height) == (96, 64), "the picture's, not the brand's"
        data = (folder / image.url.removeprefix("/images/")).read_bytes()
        made = Image.open(io.BytesIO(data))
        left = (0, 0, 48, 64)
        assert made.crop(left).tobytes() == picture.crop(left).tobytes()
        assert made.tobytes() != picture.tobytes()


def test_an_edits_steps_are_told_as_they_are(service: ImageService) -> None:
    events: list[Progress | Preview] = []
    service.generate(
        asked(init_image=sent(scene()), num_inference_steps=10, strength=0.35),
        on_event=events.append,
    )
    assert [(event.step, event.of) for event in events] == [(1, 3), (2, 3), (3, 3)]


def test_a_damaged_picture_is_the_callers_fault(service: ImageService) -> None:
    damaged = SentPicture.of_file(file_of(scene(), "JPEG")[:-60])
    with pytest.raises(InvalidRequest, match="init_image: is cut short or damaged"):
        service.generate(asked(init_image=damaged))


def test_progress_and_looks_reach_who_asked(service: ImageService) -> None:
    events: list[Progress | Preview] = []
    service.generate(asked(prompt="!slow", num_images=2), on_event=events.append, previews=True)
    assert {event.index for event in events} == {0, 1}
    assert {type(event) for event in events} == {Progress, Preview}
    events.clear()
    service.generate(asked(), on_event=events.append)
    assert {type(event) for event in events} == {Progress}


def test_seeds_wrap_around(service: ImageService) -> None:
    generation = service.generate(asked(seed=2**32 - 1, num_images=2))
    assert [image.seed for image in generation.images] == [2**32 - 1, 0]


def test_the_same_request_gives_the_same_bytes_under_another_name(service: ImageService) -> None:
    [one], [other] = (service.generate(asked(seed=7)).images for _ in range(2))
    assert one.sha256 == other.sha256
    assert one.url != other.url


def test_brand_after_brand(service: ImageService) -> None:
    seen = [
        service.generate(asked(brand=brand, seed=1)).images[0].sha256
        for brand in ("aurora", "pop", "aurora", "pop")
    ]
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]


@pytest.mark.parametrize("output_format", OutputFormat)
def test_the_file_is_what_was_asked_for(service: ImageService, output_format: OutputFormat) -> None:
    [image] = service.generate(asked(output_format=output_format)).images
    assert image.content_type == output_format.content_type
    assert image.url.endswith(f".{output_format.extension}")


def test_the_answer_says_what_it_took(service: ImageService) -> None:
    generation = service.generate(asked(campaign="spring", prompt="word " * 90, num_images=2))
    assert generation.status == "succeeded"
    assert generation.campaign == "spring"
    assert len(generation.warnings) == 1  # said by both pictures, told once
    timings, usage = generation.timings, generation.usage
    assert timings.total_s >= timings.render_s > 0
    assert timings.encode_s > 0
    assert timings.store_s > 0
    assert usage.estimated_cost_usd == pytest.approx(usage.gpu_s)  # at 3,600 dollars an hour


def test_eight_callers_at_once(service: ImageService) -> None:
    def ask(seed: int) -> Generation:
        return service.generate(asked(seed=seed), caller=Caller(str(seed)))

    with ThreadPoolExecutor(8) as callers:
        generations = list(callers.map(ask, range(8)))
    assert [one.images[0].seed for one in generations] == list(range(8))
    alone = [service.generate(asked(seed=seed)).images[0].sha256 for seed in range(8)]
    assert [one.images[0].sha256 for one in generations] == alone


def test_a_brand_of_others_is_one_that_does_not_exist(service: ImageService) -> None:
    caller = Caller("ann", frozenset({"pop", "retired"}))
    assert service.generate(asked(brand="pop"), caller=caller).status == "succeeded"
    for brand in ("aurora", "nobody"):
        with pytest.raises(UnknownBrand) as told:
            service.generate(asked(brand=brand), caller=caller)
        assert str(told.value) == f"no brand '{brand}'; there are pop"


def test_a_caller_s_picture_exists_for_nobody_else(service: ImageService) -> None:
    ann = Caller("ann", owner="ann")
    [image] = service.generate(asked(), caller=ann).images
    path = image.url.removeprefix("/images/")
    assert "ann" not in path
    assert exists_for(ann, path)
    assert not exists_for(Caller("bob", owner="bob"), path)
    assert not exists_for(NOBODY, path)


def test_half_of_the_queue_stays_free_for_others_than_a_known_caller(
    make_service: Make, engine: RenderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address is no caller: a whole office may be behind it."""
    shares: list[int | None] = []
    submit = engine.submit

    def recorded(*specs: Any, **said: Any) -> Any:
        shares.append(said["most_waiting"])
        return submit(*specs, **said)

    monkeypatch.setattr(engine, "submit", recorded)
    for max_queue in (8, 100):
        service = make_service(engine, max_queue=max_queue)
        service.generate(asked(), caller=Caller("ann", owner="ann"))
        service.generate(asked(), caller=Caller("192.0.2.7"))
    assert shares == [8, None, 50, None]


def test_callers_faults_are_told(service: ImageService) -> None:
    with pytest.raises(UnknownBrand):
        service.generate(asked(brand="nobody"))
    with pytest.raises(BannedTerm):
        service.generate(asked(prompt="a casino"))


def test_a_failed_picture_takes_its_siblings_along(
    service: ImageService, engine: RenderProcess
) -> None:
    with pytest.raises(RenderFailed, match=r"not finite \(gen_[0-9a-f]{20}\)"):
        service.generate(asked(prompt="!nan", num_images=8))
    assert engine.status().queued == 0
    assert service.door.inside == 0


def test_more_than_the_queue_holds_is_refused_whole(service: ImageService) -> None:
    started = threading.Event()

    def slow() -> None:
        started.set()
        with pytest.raises(Cancelled):
            service.generate(asked(prompt="!slow", num_images=8), wanted=lambda: not refused)

    refused: list[QueueFull] = []
    thread = threading.Thread(target=slow)
    thread.start()
    started.wait()
    time.sleep(0.3)
    with pytest.raises(QueueFull) as caught:
        service.generate(asked(num_images=8))
    assert caught.value.retry_after_s > 0
    refused.append(caught.value)
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_a_caller_who_left_frees_the_queue(service: ImageService, engine: RenderProcess) -> None:
    left = threading.Event()
    threading.Timer(0.3, left.set).start()
    with pytest.raises(Cancelled):
        service.generate(asked(prompt="!slow", num_images=4), wanted=lambda: not left.is_set())
    assert engine.status().queued == 0


def test_a_deadline_ends_the_wait(service: ImageService) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        service.generate(asked(prompt="!slow", num_inference_steps=100, deadline_s=0.4))
    assert time.monotonic() - began < 2


def test_storage_that_cannot_be_written_is_named(make_service: Make, engine: RenderProcess) -> None:
    service = make_service(engine, "file:/proc/imagegen")  # not even root can write there
    with pytest.raises(StorageUnavailable):
        service.generate(asked(num_images=4))
    assert engine.status().queued == 0


def test_the_time_of_pictures_that_were_finished_in_vain_is_counted(
    make_service: Make, engine: RenderProcess
) -> None:
    service = make_service(engine, "file:/proc/nowhere")
    assert service.abandoned_gpu_s == 0
    with pytest.raises(StorageUnavailable):
        service.generate(asked())
    assert service.abandoned_gpu_s > 0


def test_requests_wait_while_the_model_loads(make_service: Make) -> None:
    engine = RenderProcess(partial(FakeRenderer, load_s=1.0), max_queue=MAX_QUEUE)
    service = make_service(engine)
    engine.start()
    try:
        with pytest.raises(ModelLoading):
            service.generate(asked(deadline_s=0.2))
        with pytest.raises(Cancelled):
            service.generate(asked(), wanted=lambda: False)
        with ThreadPoolExecutor(2) as callers:
            waiting = callers.submit(service.generate, asked(num_images=8))
            time.sleep(0.1)
            with pytest.raises(QueueFull):
                service.generate(asked())
            assert len(waiting.result().images) == 8
    finally:
        engine.stop(0)


def test_while_the_model_loads_too_a_known_caller_leaves_room_for_others(
    make_service: Make,
) -> None:
    engine = RenderProcess(partial(FakeRenderer, load_s=1.0), max_queue=16)
    service = make_service(engine, max_queue=16)
    engine.start()
    ann, bob = (Caller(name, owner=name) for name in ("ann", "bob"))
    try:
        with ThreadPoolExecutor(2) as callers:
            first = callers.submit(service.generate, asked(num_images=8), caller=ann)
            time.sleep(0.1)
            with pytest.raises(QueueFull):
                service.generate(asked(), caller=ann)
            other = callers.submit(service.generate, asked(num_images=8), caller=bob)
            assert [len(one.result().images) for one in (first, other)] == [8, 8]
        assert not service._awaiting_model
    finally:
        engine.stop(0)


def test_callers_cannot_invent_brands_for_the_metrics(make_service: Make) -> None:
    service = make_service(RenderProcess(FakeRenderer, max_queue=MAX_QUEUE))
    for brand in ("nobody", "aurora"):
        with pytest.raises(UnknownBrand if brand == "nobody" else ModelLoading):
            service.generate(asked(brand=brand, deadline_s=0.01))
    service.door.close()  # refused before anybody looks for the brand
    with pytest.raises(Draining):
        service.generate(asked(brand="nobody"))
    exposition = service._metrics.exposition().decode()
    assert 'brand="aurora",status="model_loading"' in exposition
    assert 'brand="(unknown)",status="draining"' in exposition
    assert "nobody" not in exposition


def test_draining_refuses_the_new_and_finishes_the_old(make_service: Make) -> None:
    engine = RenderProcess(FakeRenderer, max_queue=MAX_QUEUE)
    service = make_service(engine)
    engine.start()
    try:
        with ThreadPoolExecutor(1) as callers:
            old = callers.submit(service.generate, asked(prompt="!slow"))
            while service.door.inside == 0:
                time.sleep(0.01)
            service.door.close()
            with pytest.raises(Draining):
                service.generate(asked())
            assert old.result().status == "succeeded"
    finally:
        engine.stop(0)
