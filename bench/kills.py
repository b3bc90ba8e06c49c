"""kill -9 at random instants, again and again: does everything that was acknowledged end, once?

Two servers with the fake renderer on one bucket. Callers ask under keys, wait or do not wait, ask
again where a connection broke, and a fifth of what they ask is delivered twice, to any server.
`python -m bench.kills --kills 200` prints what became of it; tests/generations/test_kills.py does
the same for half a minute. Leases are shorter than elsewhere, else most of the time nothing would
happen.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import importlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.machine import REPOSITORY
from imagegen.generations.records import MAX_ATTEMPTS
from imagegen.generations.register import ROOT, Register
from imagegen.storage.gcs import CloudStorage
from imagegen.storage.record_bucket import BucketRecords

SERVERS = 2
CALLERS = 6
TWICE = 0.2  # of what is asked under a key
WITH_KEY = 0.8  # the others do not wait
LEASE_S, RENEW_S, LOOK_S = 2.0, 0.5, 0.4
START_S = 60.0
ANSWER_S = 60.0
PATIENCE_S = 15.0  # of a caller who looks what became of his request
SETTLE_S = 60.0  # after the last kill
_PRESET = """\
name: Aurora
description: Northern lights.
defaults: {width: 64, height: 40, num_inference_steps: 2, guidance_scale: 1.0}
"""
_SERVE = f"""\
import sys
from imagegen.generations import books, watch
books.LEASE_S, books.RENEW_S = {LEASE_S}, {RENEW_S}
watch.LOOK_S = watch.IDLE_LOOK_S = {LOOK_S}
from imagegen.cli import main
sys.exit(main(["serve"]))
"""
_PICTURE = re.compile(r"(gen_[0-9a-f]{20})-([0-9]+)-([0-9]+)\.png")


@dataclass
class Asked:
    """One request, and what was acknowledged of it."""

    name: str
    body: dict[str, Any]
    waits: bool
    has_key: bool
    ids: set[str] = field(default_factory=set)
    answers: list[list[str]] = field(default_factory=list)  # pictures' hashes

    @property
    def headers(self) -> dict[str, str]:
        key = {"Idempotency-Key": self.name} if self.has_key else {}
        return key if self.waits else {"Prefer": "respond-async", **key}


@dataclass
class Kills:
    """What became of it all."""

    kills: int = 0
    asked: list[Asked] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Target:
    """A server that is killed and started again, always on the same port."""

    def __init__(self, number: int, folder: Path, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._environment = {
            **os.environ, **environment, "PORT": str(self.port), "PYTHONPATH": str(REPOSITORY),
        }  # fmt: skip
        self.log = folder / f"log-{number}"
        self._process = self._started()

    def kill(self) -> None:
        """The server, its worker and its render process, in the middle of whatever they do."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _SERVE],
                env=self._environment, stderr=log, start_new_session=True,
            )  # fmt: skip

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """(status, JSON). Raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            data = None if body is None else json.dumps(body)
            said = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, data, said)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def run(seed: int, kills: int, url: str, folder: Path, pace_s: float = 4.0) -> Kills:
    """Asks and kills until `kills` servers have been killed, then looks at what there is.

    url: of a bucket that STORAGE_EMULATOR_HOST or real credentials reach. pace_s: seconds between
    kills, on average.
    """
    rng = random.Random(seed)
    (folder / "brands" / "aurora").mkdir(parents=True)
    (folder / "brands" / "aurora" / "preset.yaml").write_text(_PRESET)
    said = {
        "IMAGEGEN_MODEL": "fake", "IMAGEGEN_PRESETS": f"{folder}/brands", "IMAGEGEN_STORAGE": url,
    }  # fmt: skip
    seen = Kills()
    with _targets(folder, said) as targets:
        over, lock = threading.Event(), threading.Lock()
        with ThreadPoolExecutor(CALLERS) as pool:
            for number in range(CALLERS):
                caller = random.Random(rng.random())
                pool.submit(_call, f"{seed}-{number}", caller, targets, seen, over, lock)
            try:
                _kill_now_and_then(rng, kills, targets, seen, pace_s)
            finally:
                over.set()
        _judge(seen, targets[0], url)
    return seen


@contextlib.contextmanager
def _targets(folder: Path, environment: dict[str, str]) -> Iterator[list[Target]]:
    targets = [Target(number, folder, environment) for number in range(SERVERS)]
    try:
        for target in targets:
            _until(target.is_ready, START_S)
        yield targets
    finally:
        for target in targets:
            target.kill()


def _kill_now_and_then(
    rng: random.Random, kills: int, targets: Sequence[Target], seen: Kills, pace_s: float
) -> None:
    for _ in range(kills):
        time.sleep(rng.uniform(0.2, 1.8) * pace_s)
        target = rng.choice(targets)
        target.kill()
        seen.kills += 1
        time.sleep(rng.uniform(0.0, 1.0))
        target.restart()


def _call(
    name: str,
    rng: random.Random,
    targets: Sequence[Target],
    seen: Kills,
    over: threading.Event,
    lock: threading.Lock,
) -> None:
    """One caller: asks, and asks again under the same key until somebody has acknowledged it."""
    number = 0
    with ThreadPoolExecutor(2) as deliveries:
        while not over.is_set():
            number += 1
            steps, slow = rng.randint(1, 3), "!slow " if rng.random() < 0.5 else ""
            body = {
                "brand": "aurora", "prompt": f"{slow}a mug {name} {number}",
                "num_images": rng.randint(1, 3), "num_inference_steps": steps,
            }  # fmt: skip
            waits, has_key = rng.random() < 0.5, rng.random() < WITH_KEY
            asked = Asked(f"{name}-{number}", body, waits and has_key, has_key)
            with lock:
                seen.asked.append(asked)
            times = 2 if has_key and rng.random() < TWICE else 1
            sent = [
                deliveries.submit(_deliver, asked, random.Random(rng.random()), targets, seen, lock)
                for _ in range(times)
            ]
            for one in sent:
                one.result()
            _look_again(asked, rng, targets, over)


def _look_again(
    asked: Asked, rng: random.Random, targets: Sequence[Target], over: threading.Event
) -> None:
    """As whoever does not wait does; so that no more is open than callers look after."""
    for name in asked.ids:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not over.wait(rng.uniform(0.1, 0.3)):
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                _, said = rng.choice(targets).ask("GET", f"/generations/{name}")
                if said.get("status") not in ("queued", "running"):
                    return


def _deliver(
    asked: Asked, rng: random.Random, targets: Sequence[Target], seen: Kills, lock: threading.Lock
) -> None:
    """Until it is acknowledged; without a key it is sent once, as nobody knows what was heard."""
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.0, 0.1))
        try:
            status, said = rng.choice(targets).ask("POST", "/generate", asked.body, asked.headers)
        except (OSError, http.client.HTTPException, ValueError):
            outcome = "cut off"
        else:
            outcome = str(status) if status < 300 else f"{status} {said.get('code')}"
        with lock:
            seen.answers[outcome] += 1
            if outcome in ("200", "202"):
                asked.ids.add(said["id"])
                if said["status"] == "succeeded":
                    asked.answers.append([image["sha256"] for image in said["images"]])
                return
            if outcome[0] in "45" and outcome[:3] not in ("429", "503", "500"):
                seen.faults.append(f"{asked.name}: {outcome}: {said}")
        if outcome.startswith("500") or not asked.has_key:  # worn out: the judge sees its record
            return
        time.sleep(rng.uniform(0.1, 0.5))
    seen.faults.append(f"{asked.name} was never acknowledged")


def _judge(seen: Kills, target: Target, url: str) -> None:
    """Everything has ended, also what nobody was told of; there is one set of pictures for each."""
    store = BucketRecords(url)
    register = Register(store)
    _until(lambda: not register.all_open(), SETTLE_S, seen.faults, "something is still open")
    names = {name.removesuffix(".json") for name, _ in store.names(f"{ROOT}/records", limit=10**6)}
    objects = _objects(CloudStorage(url))
    for name in objects.keys() - names:
        seen.faults.append(f"{name} has pictures and no record")
    said = {name: target.ask("GET", f"/generations/{name}")[1] for name in names}
    for name, record in said.items():
        seen.ended[record["status"]] += 1
        held = register.find(name)
        seen.attempts[0 if held is None else held.record.attempt] += 1
        _judge_one(name, record, objects.get(name, {}), seen)
    for asked in seen.asked:
        if len(asked.ids) > 1 or not asked.ids <= names:
            seen.faults.append(f"{asked.name} is not one generation: {asked.ids}")
        for name in asked.ids & names:
            told = [image["sha256"] for image in said[name]["images"]]
            if any(answer != told for answer in asked.answers):
                seen.faults.append(f"{name} was answered in different ways")
            if told and len(told) != asked.body["num_images"]:
                seen.faults.append(f"{name} has {len(told)} pictures")


def _judge_one(name: str, said: dict[str, Any], there: dict[str, bytes], seen: Kills) -> None:
    if said["status"] == "succeeded":
        images = said["images"]
        told = {one["storage_uri"].rpartition("/")[2]: one["sha256"] for one in images}
        stored = {path: hashlib.sha256(data).hexdigest() for path, data in there.items()}
        if told != stored:
            seen.faults.append(f"{name}: {told} was told, {stored} is stored")
    elif not _worn_out(said):
        seen.faults.append(f"{name} has not ended well: {said}")


def _worn_out(said: dict[str, Any]) -> bool:
    """Three of its instances were killed while they had it: it is taken for the reason."""
    return said.get("status") == "failed" and f"{MAX_ATTEMPTS} instances" in said["error"]["detail"]


def _objects(storage: CloudStorage) -> dict[str, dict[str, bytes]]:
    """Pictures by their generation's id and their name."""
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for blob in storage._bucket.list_blobs():  # noqa: SLF001  # to judge is not a store's business
        if match := _PICTURE.search(blob.name):
            found[match[1]][blob.name.rpartition("/")[2]] = blob.download_as_bytes()
    return found


def _until(
    condition: Any, within_s: float, faults: list[str] | None = None, fault: str = "not ready"
) -> None:
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            if faults is None:
                raise TimeoutError(fault)
            faults.append(fault)
            return
        time.sleep(0.1)


def summary(seen: Kills) -> str:
    acknowledged = sum(bool(asked.ids) for asked in seen.asked)
    answers = ", ".join(f"{count} x {name}" for name, count in seen.answers.most_common())
    ended = ", ".join(f"{count} {status}" for status, count in seen.ended.most_common())
    attempts = ", ".join(f"{count} in attempt {n}" for n, count in sorted(seen.attempts.items()))
    return "\n".join(
        [
            f"{seen.kills} kills; {len(seen.asked)} asked, {acknowledged} acknowledged: {ended}",
            attempts,
            f"answers: {answers}",
            *(f"FAULT {fault}" for fault in seen.faults),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 if nothing was at fault. Needs the tests' fake bucket server."""
    parser = argparse.ArgumentParser("bench.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pace-s", type=float, default=4.0, help="between kills, on average")
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args(arguments)
    sys.path.insert(0, str(REPOSITORY / "tests"))
    fake_bucket = importlib.import_module("fake_bucket")
    with fake_bucket.running_bucket_server() as server, TemporaryDirectory() as folder:
        os.environ["STORAGE_EMULATOR_HOST"] = server.endpoint
        url = f"gs://{server.new()}/some/prefix"
        seen = run(said.seed, said.kills, url, Path(folder), said.pace_s)
    print(summary(seen))
    return int(bool(seen.faults))


if __name__ == "__main__":
    sys.exit(main())
