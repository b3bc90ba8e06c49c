"""One suite for both queues: what was accepted ends once, whatever happens on the way.

Embedded, the instance that was asked renders it, and others adopt what died with theirs. With Cloud
Tasks, Google's own client creates tasks at a fake that delivers them late, in any order, twice, and
again after a lost answer.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fake_cloud_tasks import FakeCloudTasks, Vices, fake_cloud_tasks
from google_issuer import Signer, key_server
from sample_brands import write_brands
from sent_pictures import scene, text_of
from werkzeug.serving import make_server

from imagegen import cloud_tasks
from imagegen.application import Application, Front
from imagegen.bootstrap import build_for_role
from imagegen.callers import deliverer
from imagegen.engine.process import RenderProcess
from imagegen.generations import books, deliveries, watch
from imagegen.generations.register import Register
from imagegen.settings import Settings
from imagegen.storage.records import open_records
from imagegen.web.app import create_app

SIGNER = Signer("RS256", "google-1")
TASKS = {
    "queue": "tasks:projects/p/locations/europe-west4/queues/imagegen",
    "tasks_url": "https://renderer.test",
    "tasks_account": "tasks@p.iam.gserviceaccount.com",
}
BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug"}
SLOW = BODY | {"prompt": "!slow", "num_inference_steps": 3}
LONG = BODY | {"prompt": "!slow", "num_inference_steps": 90}


def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.02)


class Instance:
    """A service with a port, in this process."""

    def __init__(self, parts: Application | Front) -> None:
        self.parts = parts
        parts.start()
        self._server = make_server("127.0.0.1", 0, create_app(parts), threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = "" if body is None else json.dumps(body)
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, data, kind | headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def accept(self, body: object, **headers: str) -> str:
        status, said = self.ask("POST", "/generate", body, Prefer="respond-async", **headers)
        assert status in (200, 202), said  # 200: it has ended meanwhile
        return str(said["id"])

    def state(self, generation_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/generations/{generation_id}")[1]

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.parts.stop()


@dataclass
class House:
    """Instances on one store, and the queue between them."""

    settings: Settings
    tasks: FakeCloudTasks | None
    instances: list[Instance] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(self.settings.storage.removeprefix("file:"))

    @property
    def register(self) -> Register:
        return Register(open_records(self.settings.storage))

    def start(self, **changed: object) -> Instance:
        settings = Settings.model_validate(self.settings.model_dump() | changed)
        instance = Instance(build_for_role(settings))
        self.instances.append(instance)
        if isinstance(instance.parts.engine, RenderProcess):
            instance.parts.engine.wait_ready(20)
            if self.tasks is not None:
                self.tasks.ports.append(instance.port)
        return instance

    def leave(self, instance: Instance) -> None:
        """The load balancer sends it nothing new."""
        if self.tasks is not None:
            self.tasks.ports.remove(instance.port)

    def status(self, generation_id: str) -> str:
        held = self.register.find(generation_id)
        assert held is not None
        return held.record.status

    def pictures(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*.png"))


@pytest.fixture(scope="module")
def brands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brands(tmp_path_factory.mktemp("brands"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is quicker than it would be."""
    monkeypatch.setattr(books, "LEASE_S", 1.0)
    monkeypatch.setattr(books, "RENEW_S", 0.2)
    monkeypatch.setattr(watch, "LOOK_S", 0.1)
    monkeypatch.setattr(watch, "IDLE_LOOK_S", 0.1)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloudTasks]:
    with key_server(SIGNER) as keys, fake_cloud_tasks(SIGNER) as fake:
        issuer = replace(deliverer.GOOGLE, certificates_url=keys.url)
        monkeypatch.setattr(deliverer, "GOOGLE", issuer)
        monkeypatch.setattr(cloud_tasks, "connect_to_google", fake.client)
        yield fake


@pytest.fixture(params=["embedded", "tasks"])
def house(
    request: pytest.FixtureRequest, quick: None, brands: Path, tmp_path: Path
) -> Iterator[House]:
    yield from _house(request, request.param == "tasks", brands, tmp_path)


@pytest.fixture
def with_tasks(
    request: pytest.FixtureRequest, quick: None, brands: Path, tmp_path: Path
) -> Iterator[House]:
    yield from _house(request, True, brands, tmp_path)


def _house(
    request: pytest.FixtureRequest, has_tasks: bool, brands: Path, folder: Path
) -> Iterator[House]:
    common = {"model": "fake", "presets": str(brands), "storage": f"file:{folder}/store"}
    house = House(
        Settings.model_validate(common | (TASKS if has_tasks else {})),
        request.getfixturevalue("tasks") if has_tasks else None,
    )
    yield house
    if house.tasks is not None:
        house.tasks.close()
    for instance in house.instances:
        instance.end()


def queue_of(house: House) -> FakeCloudTasks:
    assert house.tasks is not None
    return house.tasks


# Both


def test_what_is_accepted_ends_though_nobody_waits(house: House) -> None:
    one, two = house.start(), house.start()
    accepted = one.accept(SLOW | {"num_images": 2, "seed": 4_294_967_295})
    for instance in (one, two):
        until(lambda instance=instance: instance.state(accepted)["status"] == "succeeded")  # type: ignore[misc]
    states = [instance.state(accepted) for instance in (one, two)]
    assert [image["seed"] for image in states[0]["images"]] == [4_294_967_295, 0]
    assert [image["sha256"] for image in states[0]["images"]] == [
        image["sha256"] for image in states[1]["images"]
    ]
    assert len(house.pictures()) == 2
    listed = two.ask("GET", "/generations")[1]["generations"]
    assert [one["id"] for one in listed] == [accepted]


def test_thirty_end_exactly_once(house: House) -> None:
    instances = [house.start(), house.start()]
    if house.tasks is not None:
        house.tasks.vices = Vices(twice=0.3, again=0.3, late_s=0.4)
        house.tasks.lost_creations = 5
        house.tasks.refused_creations = 3

    def accept(number: int) -> str:
        key = {"Idempotency-Key": f"row {number // 2}"} if number % 3 == 0 else {}
        body = SLOW | {"num_inference_steps": 1, "seed": number // 2, "num_images": 2}
        return instances[number % 2].accept(body, **key)

    with ThreadPoolExecutor(6) as pool:
        accepted = set(pool.map(accept, range(30)))
    until(lambda: all(house.status(one) == "succeeded" for one in accepted), 60)
    images = [
        image["storage_uri"] for one in accepted for image in instances[0].state(one)["images"]
    ]
    assert len(set(images)) == len(images) == 2 * len(accepted)
    assert sorted(Path(uri).name for uri in images) == house.pictures()
    until(lambda: house.register.all_open() == {})


def test_the_same_key_is_the_same_generation(house: House) -> None:
    one, two = house.start(), house.start()
    key = {"Idempotency-Key": "row 7"}
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit((one, two)[i % 2].accept, SLOW, **key) for i in range(8)]
        [accepted] = {each.result() for each in asking}
    status, said = two.ask("POST", "/generate", BODY, Prefer="respond-async", **key)
    assert (status, said["code"]) == (422, "idempotency_conflict")
    status, waited_for = one.ask("POST", "/generate", SLOW, **key)
    assert (status, waited_for["id"], waited_for["status"]) == (200, accepted, "succeeded")
    status, again = two.ask("POST", "/generate", SLOW, Prefer="respond-async", **key)
    assert (status, again["id"], again["status"]) == (200, accepted, "succeeded")
    assert len(house.pictures()) == 1


def test_a_picture_that_was_sent_goes_along(house: House) -> None:
    house.start()
    body = SLOW | {"init_image": text_of(scene(64, 40)), "strength": 1.0}
    accepted = house.instances[0].accept(body)
    until(lambda: house.status(accepted) == "succeeded")
    until(lambda: not list(house.folder.rglob("inputs/*.json")))


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"brand": "nobody"}, 404, "unknown_brand"),
        ({"prompt": "a casino"}, 422, "banned_term"),
        ({"width": 4_096, "height": 4_096}, 422, "invalid_request"),
    ],
)
def test_what_is_wrong_is_refused_at_once(
    house: House, wrong: dict[str, object], status: int, code: str
) -> None:
    one = house.start()
    said = one.ask("POST", "/generate", BODY | wrong, Prefer="respond-async")
    assert (said[0], said[1]["code"]) == (status, code)
    assert house.register.all_open() == {}
    assert house.tasks is None or house.tasks.tasks == {}


def test_a_failure_is_recorded_and_not_tried_again(house: House) -> None:
    one = house.start()
    accepted = one.accept(BODY | {"prompt": "!nan"})
    until(lambda: one.state(accepted)["status"] == "failed")
    assert one.state(accepted)["error"]["code"] == "render_failed"
    if house.tasks is not None:
        until(lambda: house.tasks is not None and len(house.tasks.answers) == 1)
        assert house.tasks.answers[0][1] == 204, "the queue has done what it could"
    held = house.register.find(accepted)
    assert held is not None
    assert held.record.attempt == 1


def test_one_that_is_rendered_is_cancelled_from_anywhere(house: House) -> None:
    one, two = house.start(), house.start()
    accepted = one.accept(LONG)
    until(lambda: house.status(accepted) == "running")
    for instance in (one, two):
        status, said = instance.ask("DELETE", f"/generations/{accepted}")
        assert status == (200 if instance is one else 409), said
    assert house.status(accepted) == "cancelled"
    assert house.pictures() == []
    until(lambda: house.register.all_open() == {})


def test_an_instance_that_ends_gives_its_work_to_others(house: House) -> None:
    one = house.start()
    accepted = one.accept(BODY | {"prompt": "!slow", "num_inference_steps": 20})
    until(lambda: house.status(accepted) == "running")
    two = house.start()
    house.leave(one)
    one.parts.drain(0.5, 1.5)
    until(lambda: house.status(accepted) == "succeeded")
    held = house.register.find(accepted)
    assert held is not None
    assert held.record.attempt == 1, "it was not its fault"
    assert two.state(accepted)["status"] == "succeeded"
    assert len(house.pictures()) == 1


# Cloud Tasks


def test_a_task_says_whom_to_call_and_for_how_long(with_tasks: House) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    tasks.delivers = False
    one = house.start(deadline_s=3_600)
    key = {"Idempotency-Key": "k"}
    ids = [one.accept(BODY), one.accept(BODY | {"deadline_s": 40}), one.accept(BODY, **key)]
    assert one.accept(BODY, **key) == ids[2]
    assert len(tasks.tasks) == 3
    for accepted, hold in zip(ids, ("1800s", "100s", "1800s"), strict=True):
        [name] = [name for name in tasks.tasks if accepted in name]
        assert tasks.tasks[name] == {
            "name": name,
            "dispatchDeadline": hold,
            "httpRequest": {
                "url": f"https://renderer.test/tasks/{accepted}",
                "httpMethod": "POST",
                "oidcToken": {
                    "serviceAccountEmail": "tasks@p.iam.gserviceaccount.com",
                    "audience": "https://renderer.test",
                },
            },
        }
    assert [house.status(accepted) for accepted in ids] == ["queued"] * 3


def test_a_delivery_is_answered_when_the_generation_has_ended(with_tasks: House) -> None:
    """However many there are, and wherever they arrive."""
    house, tasks = with_tasks, queue_of(with_tasks)
    tasks.delivers = False
    one, two = house.start(), house.start()
    accepted = one.accept(SLOW | {"num_images": 2})
    [task] = tasks.tasks.values()

    def deliver(_: int) -> tuple[int, str]:
        return tasks.deliver(task), house.status(accepted)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(deliver, range(8)))
    assert answers == [(204, "succeeded")] * 8
    assert len(house.pictures()) == 2
    assert tasks.deliver(task) == 204, "again, long after"
    held = house.register.find(accepted)
    assert held is not None
    assert held.record.attempt == 1
    assert [two.parts.generations.watch.adopted] == [0], "nobody had died"  # type: ignore[union-attr]


def test_what_nobody_knows_and_what_was_cancelled_needs_no_other_delivery(
    with_tasks: House,
) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    tasks.delivers = False
    one = house.start()
    accepted = one.accept(SLOW)
    [task] = tasks.tasks.values()
    status, said = one.ask("DELETE", f"/generations/{accepted}")
    assert (status, said["status"]) == (200, "cancelled"), "nobody has it: at once"
    assert tasks.deliver(task) == 204
    for unknown in ("gen_" + "f" * 20, "gen_", "..%2F..%2Fetc"):
        other = task | {
            "httpRequest": task["httpRequest"] | {"url": f"https://renderer.test/tasks/{unknown}"}
        }
        assert tasks.deliver(other) in (204, 404)
    assert house.pictures() == []


def test_a_lost_or_refused_creation_is_one_task(with_tasks: House) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    one = house.start()
    for fault in ("lost_creations", "refused_creations"):
        setattr(tasks, fault, 1)
        accepted = one.accept(BODY)
        until(lambda accepted=accepted: house.status(accepted) == "succeeded")  # type: ignore[misc]
    assert len(tasks.tasks) == 2
    assert len(house.pictures()) == 2


@pytest.mark.parametrize("fault", ["refused_creations", "lost_creations"])
def test_without_cloud_tasks_whoever_is_awake_takes_it_up(
    with_tasks: House, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    monkeypatch.setattr(cloud_tasks, "_PATIENCE_S", 0.3)
    tasks.delivers = False
    setattr(tasks, fault, 1_000)
    one = house.start()
    accepted = one.accept(SLOW)
    if fault == "refused_creations":
        until(lambda: house.status(accepted) == "succeeded")
        assert len(house.pictures()) == 1
    else:  # it is there, as the second try says
        assert len(tasks.tasks) == 1


def test_what_was_written_down_and_never_put_is_put_when_it_is_asked_for_again(
    with_tasks: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    one = house.start()
    key = {"Idempotency-Key": "spring:5"}

    def die(*_: object) -> None:
        raise RuntimeError("killed just then")

    with monkeypatch.context() as killed:
        killed.setattr(cloud_tasks.CloudTasks, "put", die)
        assert one.ask("POST", "/generate", BODY, Prefer="respond-async", **key)[0] == 500
    assert tasks.tasks == {}
    accepted = one.accept(BODY, **key)
    assert one.accept(BODY, **key) == accepted
    until(lambda: house.status(accepted) == "succeeded")
    assert len(tasks.tasks) == len(house.pictures()) == 1


def test_a_full_instance_refuses_and_the_last_refusal_is_recorded(with_tasks: House) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    tasks.delivers = False
    one = house.start(max_queue=8)
    accepted = one.accept(LONG | {"num_images": 8})
    [task] = tasks.tasks.values()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):  # callers who wait for their pictures, and give up
            pool.submit(one.ask, "POST", "/generate", LONG | {"num_images": 8, "deadline_s": 6})
        until(lambda: one.parts.engine.status().queued >= 1)
        assert tasks.deliver(task, cloud_tasks.MAX_DELIVERIES - 2) == 429
        assert house.status(accepted) == "queued"
        assert tasks.deliver(task, cloud_tasks.MAX_DELIVERIES - 1) == 204
    state = one.state(accepted)
    assert (state["status"], state["error"]["code"]) == ("failed", "queue_full")
    assert "last delivery" in state["error"]["detail"]
    assert house.register.all_open() == {}


def test_who_calls_must_be_cloud_tasks(with_tasks: House) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    tasks.delivers = False
    one = house.start()
    accepted = one.accept(SLOW)
    good = tasks.token()
    header, claims, _ = good.split(".")
    removed = f"{header}.{claims}.SIGNATURE_REMOVED_BY_GOOGLE"
    refused = [
        "", "nonsense", removed, f"{header}.{claims}.", good[:-4] + "AAAA",
        tasks.token(email="somebody@p.iam.gserviceaccount.com"),
        tasks.token(email_verified=False), tasks.token(aud="https://other.test"),
        tasks.token(iss="https://evil.test"), tasks.token(exp=int(time.time()) - 60),
        Signer("RS256", "google-1").token({}),
    ]  # fmt: skip
    for token in refused:
        said = one.ask("POST", f"/tasks/{accepted}", Authorization=f"Bearer {token}")
        assert (said[0], said[1]["code"]) == (401, "unauthenticated"), token
    for path in (accepted, "campaigns/8237000000000-01234567"):
        assert one.ask("POST", f"/tasks/{path}")[0] == 401
    assert house.status(accepted) == "queued"
    assert one.ask("POST", f"/tasks/{accepted}", Authorization=f"Bearer {good}")[0] == 204
    assert house.status(accepted) == "succeeded"


def test_behind_cloud_run_the_signature_is_gone(with_tasks: House) -> None:
    """It has verified it, and only where an operator says so (IMAGEGEN_ALLOW_ANYONE)."""
    house, tasks = with_tasks, queue_of(with_tasks)
    tasks.delivers = False
    one = house.start(allow_anyone="yes")
    accepted = one.accept(SLOW)

    def removed(**claims: Any) -> str:
        return tasks.token(**claims).rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"

    for token in (
        removed(email="somebody@p.iam.gserviceaccount.com"), removed(aud="https://other.test"),
        removed(iss="https://evil.test"), removed(exp=int(time.time()) - 60),
        removed(exp="soon"), removed(exp=None), "a.SIGNATURE_REMOVED_BY_GOOGLE",
    ):  # fmt: skip
        assert one.ask("POST", f"/tasks/{accepted}", Authorization=f"Bearer {token}")[0] == 401
    assert house.status(accepted) == "queued"
    for token in (removed(), tasks.token()):
        assert one.ask("POST", f"/tasks/{accepted}", Authorization=f"Bearer {token}")[0] == 204


def test_pages_accept_while_the_renderer_sleeps(with_tasks: House) -> None:
    house, tasks = with_tasks, queue_of(with_tasks)
    pages = house.start(role="web", render_url="http://127.0.0.1:9")
    accepted, unwanted = pages.accept(SLOW), pages.accept(SLOW)
    assert pages.state(accepted)["status"] == "queued"
    assert pages.ask("DELETE", f"/generations/{unwanted}")[1]["status"] == "cancelled"
    assert pages.ask("POST", f"/tasks/{accepted}")[0] == 404, "it renders nothing"
    status, said = pages.ask(
        "POST", "/generate", BODY | {"brand": "nobody"}, Prefer="respond-async"
    )
    assert (status, said["code"]) == (404, "unknown_brand")
    time.sleep(0.3)
    assert {status for _, status in tasks.answers} == {0}, "nobody is there"
    house.start(role="render", allow_anyone="yes")
    until(lambda: pages.state(accepted)["status"] == "succeeded")
    until(lambda: (f"/tasks/{unwanted}", 204) in tasks.answers)
    assert len(house.pictures()) == 1


def test_a_brand_that_the_pages_have_already_is_waited_for(
    with_tasks: House, brands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each follows the brands' bucket by itself; the renderer loads a new LoRA's model first."""
    house, tasks = with_tasks, queue_of(with_tasks)
    shutil.copytree(brands / "aurora", tmp_path / "old" / "aurora")
    renderer = house.start(presets=str(tmp_path / "old"))
    pages = house.start(role="web", render_url="http://127.0.0.1:9")
    accepted = pages.accept(BODY | {"brand": "pop"})
    until(lambda: (f"/tasks/{accepted}", 429) in tasks.answers)
    renderer.parts.catalog.swap(pages.parts.catalog, {})
    until(lambda: pages.state(accepted)["status"] == "succeeded")
    renderer.parts.catalog.swap([], {})
    monkeypatch.setattr(deliveries, "NEW_BRAND_S", 0.0)
    accepted = pages.accept(BODY | {"brand": "pop"})
    until(lambda: pages.state(accepted)["status"] == "failed")


def test_embedded_has_no_such_route(house: House) -> None:
    one = house.start()
    status, said = one.ask("POST", "/tasks/gen_0")
    assert status == (404 if house.tasks is None else 401), said


# Processes that are killed

SERVE = """
import sys
from dataclasses import replace
from google.auth.credentials import AnonymousCredentials
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
from imagegen import cloud_tasks
from imagegen.callers import deliverer
from imagegen.generations import books, watch
from imagegen.settings import Settings
from imagegen.wsgi import serve

host, keys = sys.argv[1:]
cloud_tasks.connect_to_google = lambda: CloudTasksClient(transport=CloudTasksRestTransport(
    host=host, url_scheme="http", credentials=AnonymousCredentials()))
deliverer.GOOGLE = replace(deliverer.GOOGLE, certificates_url=keys)
books.LEASE_S, books.RENEW_S, watch.LOOK_S, watch.IDLE_LOOK_S = 2.0, 0.4, 0.2, 0.5
sys.exit(serve(Settings.from_environment()))
"""


@contextmanager
def process(house: House, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """(port, process) of an instance of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    said = house.settings.model_dump(exclude_unset=True) | {"port": port}
    environ = {f"IMAGEGEN_{name.upper()}": str(value) for name, value in said.items()}
    started = subprocess.Popen(
        [sys.executable, "-c", SERVE, *arguments],
        env={**os.environ, **environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port, started
    finally:
        started.kill()
        started.wait()


def ready(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/readyz")
            with connection.getresponse() as answer:
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False


def test_kill_9_at_any_moment_loses_nothing(with_tasks: House) -> None:
    """Pages accept; of two renderers one is killed again and again."""
    house, tasks = with_tasks, queue_of(with_tasks)
    tasks.vices = Vices(twice=0.2, again=0.2, late_s=0.3)
    pages = house.start(role="web", render_url="http://127.0.0.1:9")
    chance = random.Random(3)
    with (
        key_server(SIGNER) as keys,
        process(house, urlsplit(tasks.url).netloc, keys.url) as (port, _),
    ):
        until(lambda: ready(port), 60)
        tasks.ports.append(port)
        accepted = [pages.accept(SLOW | {"seed": i, "num_images": 2}) for i in range(10)]
        for _ in range(2):
            with process(house, urlsplit(tasks.url).netloc, keys.url) as (other, killed):
                until(lambda other=other: ready(other), 60)  # type: ignore[misc]
                tasks.ports.append(other)
                accepted += [pages.accept(SLOW | {"num_images": 2}) for _ in range(8)]
                time.sleep(chance.uniform(0.1, 1.0))
                killed.send_signal(signal.SIGKILL)
                tasks.ports.remove(other)
        until(lambda: all(house.status(one) == "succeeded" for one in accepted), 90)
        until(lambda: house.register.all_open() == {})
    images = [image for one in accepted for image in pages.state(one)["images"]]
    stored = sorted(Path(image["storage_uri"]).name for image in images)
    assert len(set(stored)) == 2 * len(accepted)
    assert stored == house.pictures()
