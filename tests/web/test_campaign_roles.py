"""A campaign begun at the role `web`, with the renderer as Cloud Run has it: it sleeps until it is
asked for something, and may be killed; a bucket between them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_bucket import FakeBucket, Line, running_bucket_server
from fake_cloud_tasks import FakeCloudTasks, fake_cloud_tasks
from google_issuer import KeyServer, Signer, key_server
from web_server import Server

from imagegen.campaigns.progress import Ended, Progress, progress_of
from imagegen.campaigns.store import CampaignStore
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Register
from imagegen.storage.records import open_records

SIGNER = Signer("RS256", "google-1")
ROWS = 10
# Whoever renders looks for campaigns only as he starts, when a dead one's lease still holds, and
# whenever he is called.
QUICK = """\
from imagegen.campaigns import bells, driver, store
from imagegen.front import renderer
from imagegen.generations import books, watch
store.LEASE_S, driver.STEP_S, driver.LOOK_S = 6.0, 0.1, 3600.0
books.LEASE_S, books.RENEW_S, watch.LOOK_S, watch.IDLE_LOOK_S = 1.0, 0.2, 0.2, 0.2
renderer.KEEP_EVERY_S, bells.AGAIN_S = 0.5, 1.0
"""
WITH_FAKE_TASKS = """
from dataclasses import replace
from google.auth.credentials import AnonymousCredentials
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
from imagegen import cloud_tasks
from imagegen.callers import deliverer
deliverer.GOOGLE = replace(deliverer.GOOGLE, certificates_url={keys!r})
cloud_tasks.connect_to_google = lambda: CloudTasksClient(transport=CloudTasksRestTransport(
    host={host!r}, url_scheme="http", credentials=AnonymousCredentials()))
"""


def until(condition: Callable[[], object], within_s: float = 60) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.1)


class Sleeper(Line):
    """A port behind which nothing runs until somebody connects."""

    def __init__(self, start: Callable[[], Server]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self.servers: list[Server] = []
        super().__init__("http://127.0.0.1:0")

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def kill(self) -> None:
        """Whoever is connected is cut off, and the next one wakes another server."""
        with self._lock:
            self.servers[-1].kill()

    def _serve(self, near: socket.socket) -> None:
        with self._lock:
            if not self.servers or self.servers[-1].process.poll() is not None:
                self.servers.append(self._start())
                self.servers[-1].wait_until("/readyz", timeout_s=60)
            try:
                far = socket.create_connection(("127.0.0.1", self.servers[-1].port))
            except OSError:  # cut off at once: whoever waits for an answer asks again
                near.close()
                return
        for ends in ((near, far, False), (far, near, True)):
            threading.Thread(target=self._pump, args=ends, daemon=True).start()


@dataclass
class House:
    """The pages, the renderer that sleeps, and what is in the bucket."""

    web: Server
    renderer: Sleeper
    bucket: FakeBucket
    name: str
    store: CampaignStore
    register: Register

    def begin(self, prompts: list[str]) -> str:
        """Its address."""
        form = {"name": "spring", "text": "\n".join(prompts), "brand": "aurora", "do": "start"}
        status, headers, _ = self.web.submit("/campaigns", form)
        assert status == 303
        return str(headers["Location"])

    def progress(self, path: str) -> Progress:
        """As the bucket has it: nobody looks at a page, so nobody keeps anybody awake."""
        record = self.store.find(path.rpartition("/")[2], "")
        assert record is not None

        def find(generation_id: str) -> GenerationRecord | None:
            held = self.register.find(generation_id)
            return None if held is None else held.record

        return progress_of(record, find, Ended())

    def done(self, path: str) -> int:
        return len(self.progress(path).with_status("succeeded"))

    def check_each_row_is_made_once(self, path: str) -> None:
        ids = [one.record.id for one in self.progress(path).rows if one.record is not None]
        assert len(set(ids)) == ROWS
        listed = [name for _, *name in self.register.names("")]
        assert len(listed) == ROWS, "nothing was asked for twice"
        blobs = [one.name for one in self.bucket.client.list_blobs(self.name)]
        assert len([name for name in blobs if name.endswith(".png")]) == ROWS


@pytest.fixture(scope="module")
def bucket() -> Iterator[FakeBucket]:
    with running_bucket_server() as server:
        yield server


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    with key_server(SIGNER) as keys:
        yield keys


@pytest.fixture
def tasks() -> Iterator[FakeCloudTasks]:
    with fake_cloud_tasks(SIGNER) as tasks:
        yield tasks


@pytest.fixture
def house(
    request: pytest.FixtureRequest,
    bucket: FakeBucket,
    brands: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    name = bucket.new()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.endpoint)
    said = {
        "IMAGEGEN_PRESETS": str(brands),
        "IMAGEGEN_STORAGE": f"gs://{name}",
        "IMAGEGEN_MAX_QUEUE": "16",  # so four rows are asked for at a time
        "IMAGEGEN_MODEL": "fake",
    }
    first, queue = QUICK, None
    if request.param == "tasks":
        queue, keys = request.getfixturevalue("tasks"), request.getfixturevalue("keys")
        host = urllib.parse.urlsplit(queue.url).netloc
        first += WITH_FAKE_TASKS.format(keys=keys.url, host=host)
        said |= {
            "IMAGEGEN_QUEUE": "tasks:projects/p/locations/l/queues/q",
            "IMAGEGEN_TASKS_URL": "https://renderer.test",
            "IMAGEGEN_TASKS_ACCOUNT": "tasks@p.iam.gserviceaccount.com",
        }
    renderer = Sleeper(lambda: Server(said | {"IMAGEGEN_ROLE": "render"}, first))
    if queue is not None:
        queue.ports.append(renderer.port)
    web = Server(said | {"IMAGEGEN_ROLE": "web", "IMAGEGEN_RENDER_URL": renderer.endpoint}, first)
    web.wait_until("/livez", timeout_s=60)
    records = open_records(f"gs://{name}")
    yield House(web, renderer, bucket, name, CampaignStore(records), Register(records))
    if queue is not None:
        queue.close()
    renderer.close()
    for server in (web, *renderer.servers):
        server.end()


PROMPTS = [f"!slow mug {number}" for number in range(ROWS)]


@pytest.mark.parametrize("house", ["embedded", "tasks"], indirect=True)
def test_a_renderer_is_woken_and_another_goes_on_where_it_was_killed(
    house: House, request: pytest.FixtureRequest
) -> None:
    path = house.begin(PROMPTS)
    until(lambda: house.done(path) >= 2)
    house.renderer.kill()
    assert not house.progress(path).has_ended, "it was killed in the middle"
    if "embedded" in request.node.name:  # then it is who looks that wakes the next one
        until(lambda: b'data-over="true"' in house.web.ask("GET", path)[2])
    until(lambda: house.progress(path).has_ended)
    assert house.done(path) == ROWS
    assert len(house.renderer.servers) == 2
    house.check_each_row_is_made_once(path)


@pytest.mark.parametrize("house", ["tasks"], indirect=True)
def test_the_queue_calls_until_the_end_and_no_longer(house: House, tasks: FakeCloudTasks) -> None:
    def calls() -> list[tuple[str, int]]:
        return [one for one in tasks.answers if one[0].startswith("/tasks/campaigns/")]

    path = house.begin(PROMPTS[:1])
    until(lambda: house.progress(path).has_ended)
    id_ = path.rpartition("/")[2]
    until(lambda: not house.store.is_running(id_))
    until(lambda: len(tasks.answers) == len(tasks.tasks))  # each call but the last puts another one
    assert len(calls()) >= 2
    assert {status for _, status in calls()} == {204}
