"""Which queue the settings mean, and when Google's library is imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagegen.cloud_tasks import Target
from imagegen.errors import InvalidSettings
from imagegen.settings import Settings

QUEUE = "tasks:projects/my-project/locations/europe-west4/queues/imagegen"
GOOD = {"queue": QUEUE, "tasks_url": "https://r.example", "tasks_account": "t@p.example"}


def test_embedded_has_no_target() -> None:
    assert Target.of(Settings()) is None


def test_a_target_is_as_the_settings_say() -> None:
    target = Target.of(Settings.model_validate(GOOD | {"tasks_url": "https://r.example/"}))
    assert target == Target(QUEUE.removeprefix("tasks:"), "https://r.example", "t@p.example")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"queue": "embedded"}, "IMAGEGEN_TASKS_URL goes with"),
        ({"queue": "tasks:imagegen"}, "use embedded or tasks:projects/PROJECT"),
        ({"queue": QUEUE + "/tasks/1"}, "use embedded or"),
        ({"tasks_url": None}, "needs IMAGEGEN_TASKS_URL"),
        ({"tasks_url": None, "tasks_account": None}, "TASKS_URL and IMAGEGEN_TASKS_ACCOUNT"),
        ({"tasks_url": "r.example"}, "IMAGEGEN_TASKS_URL is 'r.example'"),
        ({"tasks_url": "https://r.example/tasks"}, "use http"),
        ({"tasks_account": "imagegen-tasks"}, "e-mail address"),
    ],
)
def test_a_mistake_stops_the_start(said: dict[str, str | None], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        Target.of(Settings.model_validate(GOOD | said))


@pytest.mark.parametrize("said", [{}, GOOD], ids=["embedded", "tasks"])
def test_no_start_waits_for_googles_library(said: dict[str, str], tmp_path: Path) -> None:
    program = (
        "import sys; from imagegen.bootstrap import build; from imagegen.settings import Settings; "
        f"build(Settings(model='fake', storage='file:{tmp_path}', **{said!r})); "
        "sys.exit('google.cloud.tasks_v2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
