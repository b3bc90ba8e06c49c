"""Settings: what the environment may say, and the sentence for what it may not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from imagegen.errors import InvalidSettings
from imagegen.generation import GenerationRequest
from imagegen.settings import JobTask, Settings


def test_what_is_not_said_is_the_default_and_other_names_are_left_alone() -> None:
    assert Settings.from_environment({"PATH": "/bin", "MODEL": "x"}) == Settings()


def test_every_setting_is_read() -> None:
    said = {
        "role": "web", "render_url": "https://renderer.example",
        "model": "gs://models/ours/1", "presets": "brands", "storage": "gs://bucket/pictures",
        "device": "cuda", "dtype": "float16", "max_queue": 30, "max_rows": 12, "deadline_s": 12.5,
        "queue": "tasks:projects/p/locations/l/queues/q", "tasks_url": "https://r.example",
        "tasks_account": "tasks@ours-1.iam.gserviceaccount.com",
        "urls": "signed", "log_format": "json", "project": "ours-1", "host": "0.0.0.0",
        "port": 9000, "auth": "keys,iap", "allow_anyone": "yes", "keys": "k.json",
        "api_key": "ig_1",
        "callers": "c.yaml", "google_audience": "https://ours.example",
        "iap_audience": "/projects/1", "requests_per_minute": 60,
        "usd_per_hour": 0.0, "web_usd_per_hour": 0.05,
    }  # fmt: skip
    assert set(said) == set(Settings.model_fields)
    environ = {f"IMAGEGEN_{name.upper()}": str(value) for name, value in said.items()}
    assert Settings.from_environment(environ).model_dump() == said


def test_port_is_cloud_runs_unless_ours_is_said() -> None:
    assert Settings.from_environment({"PORT": "9000"}).port == 9000
    assert Settings.from_environment({"PORT": "9000", "IMAGEGEN_PORT": "9001"}).port == 9001


def test_the_project_is_the_platform_s_unless_ours_is_said() -> None:
    assert Settings.from_environment({}).known_project is None
    platform = {"GOOGLE_CLOUD_PROJECT": "theirs"}
    assert Settings.from_environment(platform).known_project == "theirs"
    ours = platform | {"IMAGEGEN_PROJECT": "ours"}
    assert Settings.from_environment(ours).known_project == "ours"


def test_every_fault_is_told_at_once() -> None:
    environ = {
        "IMAGEGEN_STEPS": "20",
        "IMAGEGEN_DEVICE": "tpu",
        "IMAGEGEN_MAX_QUEUE": "0",
        "IMAGEGEN_MAX_ROWS": "1",
        "IMAGEGEN_DEADLINE_S": "0",
        "IMAGEGEN_USD_PER_HOUR": "inf",
        "IMAGEGEN_HOST": "",
        "IMAGEGEN_PROJECT": "My project",
        "PORT": "http",
    }
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_environment(environ)
    for words in (
        "IMAGEGEN_STEPS is not a setting", "IMAGEGEN_DEVICE: ", "'auto', 'cpu' or 'cuda'",
        "IMAGEGEN_MAX_QUEUE: ", "IMAGEGEN_MAX_ROWS: ", "IMAGEGEN_DEADLINE_S: ",
        "IMAGEGEN_USD_PER_HOUR: ", "IMAGEGEN_HOST: ", "IMAGEGEN_PROJECT: ", "; PORT: ", "README.md",
    ):  # fmt: skip
        assert words in caught.value.detail
    with pytest.raises(InvalidSettings, match=r"^IMAGEGEN_PORT: "):
        Settings.from_environment({"PORT": "9000", "IMAGEGEN_PORT": "http"})


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_the_queue_holds_the_largest_request() -> None:
    """A smaller one would answer 429, ask again later, to what it can never take."""
    properties = GenerationRequest.model_json_schema()["properties"]
    smallest = Settings.model_json_schema()["properties"]["max_queue"]["minimum"]
    assert smallest == properties["num_images"]["maximum"]


@pytest.mark.parametrize(
    ("index", "count", "task"),
    [("0", "1", JobTask(0, 1)), ("3", "4", JobTask(3, 4)), (None, None, None)],
)
def test_a_jobs_task_is_cloud_runs(
    index: str | None, count: str | None, task: JobTask | None
) -> None:
    said = {"CLOUD_RUN_TASK_INDEX": index, "CLOUD_RUN_TASK_COUNT": count, "PATH": "/bin"}
    environ = {name: value for name, value in said.items() if value is not None}
    assert JobTask.from_environment(environ) == task


@pytest.mark.parametrize(
    ("index", "count"), [("1", "1"), ("-1", "2"), ("one", "2"), ("0", "0"), ("0", None)]
)
def test_a_task_that_cannot_be_stops_the_start(index: str, count: str | None) -> None:
    said = {"CLOUD_RUN_TASK_INDEX": index, "CLOUD_RUN_TASK_COUNT": count}
    with pytest.raises(InvalidSettings, match="CLOUD_RUN_TASK_INDEX"):
        JobTask.from_environment({name: value for name, value in said.items() if value})
