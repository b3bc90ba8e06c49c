"""docs/clients.md: every example in it runs, as it stands there, against a real server.

A fenced block of `sh` or `python` is an example; one that needs an earlier block's files stands
below it under the same heading. `LEAVES` says what must lie there afterwards, by heading.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sample_brands import write_brands

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "web"))
from web_server import Server  # noqa: E402

ADDRESS = "http://127.0.0.1:8080"  # as the examples write it
PAGE = (REPOSITORY / "docs" / "clients.md").read_text()

# heading: (pictures that lie there afterwards, words that are printed)
LEAVES = {
    "curl": (1, ""),
    "Python": (6, "waited for: succeeded"),
    "asyncio": (2, "mug.png lamp.png"),
    "OpenAI's client: openai": (3, "image_generation.completed 32x32"),
    "AUTOMATIC1111's web UI: webuiapi": (1, "[7] aurora style, a red mug"),
    "imagegen batch": (4, "4 succeeded"),
}


def sections() -> dict[str, list[tuple[str, str]]]:
    """Heading to its (language, code) blocks, in order; headings without any are left out."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        if blocks:
            found[part.partition("\n")[0]] = blocks
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    server = Server(
        {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": str(write_brands(folder / "brands")),
            "IMAGEGEN_STORAGE": f"file:{folder}/output",
        }
    )
    server.wait_until("/readyz")
    yield server
    server.end()


def test_every_example_is_in_the_table_and_the_other_way_round() -> None:
    assert sections().keys() == LEAVES.keys()


@pytest.mark.parametrize("heading", LEAVES)
def test_an_example_runs_as_it_stands(server: Server, tmp_path: Path, heading: str) -> None:
    commands = tmp_path / "commands"  # so that `imagegen` and `python` are this checkout's
    commands.mkdir()
    (commands / "imagegen").write_text(f'#!/bin/sh\nexec {sys.executable} -m imagegen "$@"\n')
    (commands / "imagegen").chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()
    said = ""
    for language, code in sections()[heading]:
        assert ADDRESS in code, "an example names the address that `make run` serves on"
        program = code.replace(ADDRESS, f"http://127.0.0.1:{server.port}")
        run = ["sh", "-e", "-c"] if language == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*run, program], cwd=place, capture_output=True, text=True, check=False, timeout=120,
            env=os.environ | {
                "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(REPOSITORY),
                "NO_PROXY": "127.0.0.1",
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    count, words = LEAVES[heading]
    pictures = [path for path in place.rglob("*") if path.suffix in (".png", ".jpg", ".webp")]
    assert len(pictures) == count
    for picture in pictures:
        with Image.open(picture) as opened:
            assert opened.size in ((64, 40), (32, 32), (256, 256))
    assert words in said
