"""No render process outlives its parent, and none runs its parent's main script again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

LONG_S = 60.0

# No `if __name__ == "__main__"`: a user's script, like gunicorn's, must not run again in the child.
SCRIPT = """
print("main", flush=True)
import sys, time
from functools import partial
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.process import RenderProcess
from imagegen.generation import RenderSpec, Scheduler

load_s, prompt = float(sys.argv[1]), sys.argv[2]
engine = RenderProcess(partial(FakeRenderer, load_s=load_s), max_queue=8, step_timeout_s=600)
engine.start()
spec = RenderSpec("a", prompt, "", 8, 8, 1_000, 1.0, Scheduler.DDIM, 1, (), False)
engine.submit([spec], deadline_s=600)
while not (engine.status().phase == "load" if load_s else engine.status().running):
    time.sleep(0.01)
assert not {"torch", "diffusers", "transformers", "flask"} & sys.modules.keys()
print(engine.pid, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Ended, even if nobody has collected it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


@pytest.mark.parametrize(("load_s", "prompt"), [("600", "loading"), ("0", "!hang")])
def test_the_child_dies_with_its_parent(tmp_path, load_s, prompt):
    script = tmp_path / "main.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), load_s, prompt]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout.readline() == "main\n"
            pid = int(parent.stdout.readline())
            assert not gone(pid)
        finally:
            parent.kill()
    end = time.monotonic() + LONG_S
    while not gone(pid):
        assert time.monotonic() < end, "the render process outlived its parent"
        time.sleep(0.01)
