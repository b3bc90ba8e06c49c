"""A gcloud that records what it is told, remembers what it created, and reaches no cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """#!{python} -IS
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
words = sys.argv[1:]
state = json.loads((folder / "state.json").read_text())
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")

def option(name):
    return words[words.index(name) + 1]

said = " ".join(words)
for start in state["failures"]:
    if said.startswith(start) and state["failures"][start]:
        state["failures"][start] -= 1
        (folder / "state.json").write_text(json.dumps(state))
        sys.exit("ERROR: (gcloud) told to fail")
for start, answer in state["answers"].items():
    if said.startswith(start):
        print(answer)
        sys.exit()
verb = next((word for word in words if word in ("describe", "create", "list", "enable")), "")
kind, names = said.partition(" " + verb)[0], words[words.index(verb) + 1:] if verb else []
names = names[: next((i for i, name in enumerate(names) if name.startswith("--")), None)]
there = state["there"].setdefault(kind, [])
if verb == "describe" and names[0].partition("@")[0] not in there:
    sys.exit("ERROR: (gcloud) NOT_FOUND")
elif verb == "list":
    wanted = option("--filter").partition("=")[2] if "--filter" in words else None
    print("\\n".join(name for name in there if wanted in (None, name)))
elif verb in ("create", "enable"):
    there += [name.removeprefix("gs://") for name in names]
    (folder / "state.json").write_text(json.dumps(state))
"""


@dataclass
class FakeGcloud:
    """`gcloud` in a folder that is put first on PATH; its `sleep` takes no time."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._state = {
            "there": {"projects": ["my-project"]}, "failures": {}, "answers": {},
        }  # fmt: skip
        self._save()
        (self.folder / "gcloud").write_text(_PROGRAM.format(python=sys.executable))
        (self.folder / "sleep").write_text('#!/bin/sh\necho "$@" >> "${0%/*}/slept"\n')
        for program in ("gcloud", "sleep"):
            (self.folder / program).chmod(0o755)

    def _save(self) -> None:
        (self.folder / "state.json").write_text(json.dumps(self._state))

    def fail(self, start: str, times: int) -> None:
        """Commands that begin so fail the next `times` times."""
        self._state["failures"][start] = times
        self._save()

    def answer(self, start: str, text: str) -> None:
        """Commands that begin so print `text`."""
        self._state["answers"][start] = text
        self._save()

    def calls(self) -> list[list[str]]:
        """Every command since the last look, as the words that arrived."""
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def slept(self) -> list[str]:
        path = self.folder / "slept"
        return path.read_text().split() if path.exists() else []

    def run(
        self, *command: str | Path, cwd: Path, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.run(
            command, cwd=cwd, env=os.environ | {"PATH": path} | environ,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
