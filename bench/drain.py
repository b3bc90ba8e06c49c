"""SIGTERM at a random instant, again and again: is everybody answered, and everything whole?

`python -m bench.drain --times 200` runs real servers with the fake renderer, several at a time, and
prints what became of their callers. tests/web/test_drain.py does the same a few times.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.machine import REPOSITORY
from imagegen.storage import Storage
from imagegen.storage.local import LocalStorage

CALLERS = 6
LONGEST_EXIT_S = 9.5  # Cloud Run kills at 10
START_S = 240.0  # several start at once, on a machine that may have other work
ANSWER_S = 30.0
_PRESET = """\
name: Aurora
description: Northern lights.
defaults: {width: 64, height: 40, num_inference_steps: 4, guidance_scale: 5.0}
"""
_SLOW, _HOPELESS = 0.3, 0.05  # of the requests
_PNG_END = b"IEND\xaeB`\x82"


@dataclass
class Drain:
    """What became of one server and its callers."""

    signalled_after_s: float  # since it was ready
    start_s: float = 0.0
    exit_code: int | None = None
    exit_s: float = 0.0  # from here on since the signal
    unready_s: float | None = None  # until /readyz said so
    answers: Counter[str] = field(default_factory=Counter)
    promised: dict[str, str] = field(default_factory=dict)  # url -> sha256
    faults: list[str] = field(default_factory=list)


class Served:
    """`imagegen serve` with the fake renderer, in a process of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        (folder / "brands" / "aurora").mkdir(parents=True)
        (folder / "brands" / "aurora" / "preset.yaml").write_text(_PRESET)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.log = folder / "log"
        said = {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": f"{folder}/brands",
            "IMAGEGEN_STORAGE": f"file:{folder}/output",
            "PORT": str(self.port),
            "PYTHONPATH": str(REPOSITORY),
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "imagegen", "serve"],
                env={**os.environ, **said, **environment},
                stderr=log,
            )

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any, bytes]:
        """(status, headers, body). Raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def wait_ready(self) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > until:
                raise TimeoutError(f"not ready, exit code {self.process.poll()}")
            time.sleep(0.05)


def drain(seed: int, folder: Path, environment: dict[str, str] | None = None) -> Drain:
    """One server, callers, a signal; `environment` may name another store."""
    rng = random.Random(seed)
    served = Served(folder, environment or {})
    seen = Drain(signalled_after_s=rng.uniform(0.0, 2.0))
    try:
        began = time.monotonic()
        served.wait_ready()
        seen.start_s = time.monotonic() - began
        lock = threading.Lock()
        callers = [
            threading.Thread(target=_call, args=(served, random.Random(rng.random()), seen, lock))
            for _ in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        time.sleep(seen.signalled_after_s)
        _end(served, seen)
        for caller in callers:
            caller.join()
    finally:
        served.process.kill()
    _look_at_log(served, seen)
    return seen


def _end(served: Served, seen: Drain) -> None:
    served.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    probe = threading.Thread(target=_probe, args=(served, seen, began))
    probe.start()
    with suppress(subprocess.TimeoutExpired):
        served.process.wait(2 * LONGEST_EXIT_S)
    seen.exit_code, seen.exit_s = served.process.poll(), time.monotonic() - began
    probe.join()
    if seen.exit_code != 0 or seen.exit_s > LONGEST_EXIT_S:
        seen.faults.append(f"exit code {seen.exit_code} after {seen.exit_s:.2f} s")


def _probe(served: Served, seen: Drain, began: float) -> None:
    """Asks /readyz until it says that nothing is taken any more, as a platform does."""
    while seen.unready_s is None and served.process.poll() is None:
        try:
            if served.ask("GET", "/readyz")[0] == 503:
                seen.unready_s = time.monotonic() - began
        except (OSError, http.client.HTTPException) as error:
            if not isinstance(error, ConnectionRefusedError):
                seen.faults.append(f"/readyz: {error!r}")
        time.sleep(0.02)


def _call(served: Served, rng: random.Random, seen: Drain, lock: threading.Lock) -> None:
    """Asks for one thing after another until the port is closed."""
    while True:
        body = _request(rng)
        try:
            status, headers, data = served.ask("POST", "/generate", body)
        except ConnectionRefusedError:
            return  # to be asked again, of the next instance
        except (OSError, http.client.HTTPException) as error:
            with lock:
                seen.faults.append(f"{body}: {error!r}")
            return
        with lock:
            _judge(status, headers, data, seen)
        if status != 200:
            time.sleep(0.1)


def _request(rng: random.Random) -> dict[str, Any]:
    slow, steps = rng.random(), rng.randint(1, 8)
    if slow < _HOPELESS:
        return {"brand": "aurora", "prompt": "!slow", "num_inference_steps": 100}
    prompt = "!slow" if slow < _SLOW else "a mug"
    num_images = rng.randint(1, 3)
    return {
        "brand": "aurora", "prompt": prompt, "num_inference_steps": steps, "num_images": num_images
    }  # fmt: skip


def _judge(status: int, headers: Any, data: bytes, seen: Drain) -> None:
    said = json.loads(data)
    if status == 200:
        seen.answers["200"] += 1
        seen.answers["pictures"] += len(said["images"])
        seen.promised.update({image["url"]: image["sha256"] for image in said["images"]})
        return
    came_too_late = headers["Retry-After"] == "1"  # the door's word; the engine's is longer
    seen.answers[f"{status} {said['code']}, {'new' if came_too_late else 'in flight'}"] += 1
    if status != 503 or int(headers["Retry-After"]) < 1:
        seen.faults.append(f"{status}, Retry-After {headers['Retry-After']}: {said}")


def check_store(seen: Drain, storage: Storage) -> None:
    """Everything that was promised is there, as it was promised."""
    for url, sha256 in seen.promised.items():
        stored = storage.read(url.partition("/images/")[2])
        if stored is None or hashlib.sha256(stored.data).hexdigest() != sha256:
            seen.faults.append(f"{url} is not what was promised")


def check_folder(seen: Drain, folder: Path) -> None:
    """All pictures are whole, also those whose request failed, and no draft is left."""
    check_store(seen, LocalStorage(folder))
    for file in folder.rglob("*"):
        if file.suffix == ".part" or (file.suffix == ".png" and file.read_bytes()[-8:] != _PNG_END):
            seen.faults.append(f"{file.name} is not whole")


def _look_at_log(served: Served, seen: Drain) -> None:
    log = served.log.read_text()
    if "Traceback" in log or "ERROR" in log:
        seen.faults.append(log)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 if nothing was at fault."""
    parser = argparse.ArgumentParser("bench.drain", description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=6, help="servers")
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args(arguments)
    with ThreadPoolExecutor(said.at_once) as pool:
        drains = list(pool.map(_in_a_folder, range(said.seed, said.seed + said.times)))
    print(summary(drains))
    return int(any(seen.faults for seen in drains))


def _in_a_folder(seed: int) -> Drain:
    with TemporaryDirectory() as folder:
        seen = drain(seed, Path(folder))
        check_folder(seen, Path(folder, "output"))
    print(f"exit after {seen.exit_s:.2f} s", *seen.faults, file=sys.stderr, flush=True)
    return seen


def summary(drains: Sequence[Drain]) -> str:
    answers: Counter[str] = Counter()
    for seen in drains:
        answers.update(seen.answers)
    exits = sorted(seen.exit_s for seen in drains)
    median_s = statistics.median(exits)
    unready = [seen.unready_s for seen in drains if seen.unready_s is not None]
    return "\n".join(
        [
            f"{sum(not seen.faults for seen in drains)} of {len(drains)} drains without a fault",
            "answers: " + ", ".join(f"{count} x {name}" for name, count in answers.most_common()),
            f"exit after {exits[0]:.1f} to {exits[-1]:.1f} s, median {median_s:.1f}",
            f"/readyz says so after {max(unready, default=0.0) * 1e3:.0f} ms at most",
            *(f"FAULT {fault}" for seen in drains for fault in seen.faults),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
