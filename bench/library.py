"""How fast the library answers: 10,000 generations in a folder, asked through the application.

    python -m bench.library [FOLDER]

The generations are written directly; each picture is a real one, of the fake renderer.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask.testing import FlaskClient

from imagegen.bootstrap import build
from imagegen.generation import GeneratedImage, GenerationRequest
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Register
from imagegen.settings import Settings
from imagegen.storage.records import open_records
from imagegen.web.app import create_app

GENERATIONS = 10_000
_THINGS = ["mug", "lamp", "chair", "poster", "bottle", "kettle", "bicycle", "pen", "hat", "clock"]
_PLACES = ["on a table", "in the rain", "by the sea", "in a studio", "at night", "on a shelf"]
_COLOURS = ["red", "blue", "green", "yellow", "black", "white", "teal", "coral"]
_TIMES = 15


def write(storage: str, brands: list[str]) -> None:
    """Records as the service writes them; a picture of each is never looked at here."""
    register = Register(open_records(storage))
    began = datetime.now(UTC) - timedelta(days=300)
    for number in range(GENERATIONS):
        prompt = (
            f"a {_COLOURS[number % 8]} {_THINGS[number % 10]} {_PLACES[number % 6]}, "
            f"soft light, wide shot, number {number}"
        )
        request = GenerationRequest(
            brand=brands[number % len(brands)],
            prompt=prompt,
            seed=number,
            campaign=f"campaign {number // 400}" if number % 3 else None,
        )
        image = GeneratedImage(
            url="/images/x.png", storage_uri=f"{storage}/x.png", seed=number, width=1024,
            height=1024, content_type="image/png", size_bytes=1_500_000, sha256="0" * 64,
        )  # fmt: skip
        record = GenerationRecord(
            id=f"gen_{number:020x}", owner="", caller="127.0.0.1", request=request,
            created_at=began + timedelta(minutes=43 * number), status="succeeded",
            preset_version="sha256:" + "0" * 64, model="fake", images=(image,),
        )  # fmt: skip
        register.index(record)
        register.create(record)


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what:58} {(time.perf_counter() - began) * 1e3:9.0f} ms")


def ask(client: FlaskClient, what: str, url: str) -> None:
    """Median and worst of several; each looks at Storage for what is new."""
    took = []
    for _ in range(_TIMES):
        time.sleep(1.05)  # past the second for which a look counts
        began = time.perf_counter()
        answer = client.get(url)
        took.append((time.perf_counter() - began) * 1e3)
        assert answer.status_code == 200
    tiles = answer.text.count('class="tile"')
    print(f"{what:58} {statistics.median(took):9.0f} ms   worst {max(took):.0f} ms, {tiles} tiles")


def wait_whole(client: FlaskClient) -> None:
    while "10,000 pictures" not in client.get("/library").text:
        time.sleep(0.1)


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    settings = Settings(model="fake", storage=f"file:{folder}")
    brands = sorted(preset.id for preset in build(settings).catalog)
    if not (Path(folder) / "imagegen-generations").exists():
        with timed(f"writing {GENERATIONS:,} generations"):
            write(settings.storage, brands)
    for start in ("without digests", "with digests"):
        client = create_app(build(settings)).test_client()
        with timed(f"a new instance, {start}: first page"):
            assert client.get("/library").status_code == 200
        with timed(f"a new instance, {start}: all of it read"):
            wait_whole(client)
        time.sleep(3)  # digests are written meanwhile
    ask(client, "first page", "/library")
    ask(client, "a word of the prompt", "/library?q=kettle")
    ask(client, "three words that are in few", "/library?q=coral+clock+9999")
    ask(client, "a word that is in none", "/library?q=zebra")
    ask(client, "a campaign", "/library?campaign=campaign+7")
    ask(client, "brand, days and a word", f"/library?brand={brands[1]}&since=2026-01-01&q=night")


if __name__ == "__main__":
    main()
