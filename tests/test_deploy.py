"""deploy/ is held against Google's own schemas, and against the code that it starts."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google_schemas import (
    accepted_annotations,
    discovery_document,
    faults_of_a_job,
    faults_of_a_lifecycle,
    faults_of_a_service,
    unknown_keys,
)

from imagegen import cli
from imagegen.cloud_tasks import MAX_DELIVERIES
from imagegen.front.service import MARGIN_S
from imagegen.settings import Settings
from imagegen.storage.bucket_folder import BucketFolder
from imagegen.wsgi import refuse_openness

Mapping = dict[str, Any]
DEPLOY = Path(__file__).parents[1] / "deploy"
FILLED_IN = {
    "SERVICE": "imagegen",
    "IMAGE": "europe-west4-docker.pkg.dev/p/imagegen/imagegen@sha256:" + "0" * 64,
    "PROJECT": "my-project",
    "REGION": "europe-west4",
    "TASKS_URL": "https://imagegen-123456789012.europe-west4.run.app",
    "TASKS_ACCOUNT": "imagegen-tasks@p.iam.gserviceaccount.com",
    "BUCKET": "my-bucket",
    "ACCOUNT": "imagegen@p.iam.gserviceaccount.com",
    "RENDER_URL": "https://imagegen-abc-ez.a.run.app",
    "REVISION": "imagegen-1a2b3c4d",
    "TRAFFIC": '[{"revisionName": "imagegen-1a2b3c4d", "tag": "candidate", "percent": 100}]',
}
# A role more is a file more, and is tested by everything below.
SERVICES = sorted(path.name for path in DEPLOY.glob("service*.yaml"))
ON_A_GPU = ["service.yaml", "job.yaml"]


def read(name: str) -> Mapping:
    """A file of deploy/ as it reaches Google."""
    text = (DEPLOY / name).read_text()
    return dict(yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda hole: FILLED_IN[hole[1]], text)))


def pod(resource: Mapping) -> Mapping:
    """What runs: the specification around the container."""
    template = resource["spec"]["template"]
    return dict(
        template["spec"]["template"]["spec"] if resource["kind"] == "Job" else template["spec"]
    )


def container(resource: Mapping) -> Mapping:
    [only] = pod(resource)["containers"]
    return dict(only)


def environment(resource: Mapping) -> dict[str, str]:
    """What the process finds: the image's settings, over them the file's, and PORT."""
    image = dict(re.findall(r"\b(IMAGEGEN_\w+)=(\S+)", (DEPLOY.parent / "Dockerfile").read_text()))
    return (
        image
        | {entry["name"]: entry["value"] for entry in container(resource)["env"]}
        | {"PORT": "8080"}
    )


# Google's schemas


@pytest.mark.parametrize("name", [*SERVICES, "knative.yaml"])
def test_cloud_run_accepts_the_service(name: str) -> None:
    assert faults_of_a_service(read(name)) == []


def test_cloud_run_accepts_the_job() -> None:
    assert faults_of_a_job(read("job.yaml")) == []


def test_cloud_storage_accepts_the_lifecycle() -> None:
    assert faults_of_a_lifecycle(json.loads((DEPLOY / "lifecycle.json").read_text())) == []


def set_at(*path: str | int, to: object) -> Callable[[Mapping], None]:
    def plant(document: Mapping) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return plant


POD = ("spec", "template", "spec")
LIMITS = ("containers", 0, "resources", "limits")
SERVICE_FAULTS = {
    "a misspelt key": set_at(*POD, "containers", 0, "startupProb", to={}),
    "a key in the wrong place": set_at("spec", "containerConcurrency", to=8),
    "a text where a number belongs": set_at(*POD, "timeoutSeconds", to="300s"),
    "a number where a text belongs": set_at(*POD, *LIMITS, "cpu", to=8),
    "a key deep inside": set_at(*POD, "containers", 0, "livenessProbe", "httpGet", "url", to="/"),
    "what only the server writes": set_at("spec", "traffic", to=[{"url": "https://example.org"}]),
    "a share that is a text": set_at("spec", "traffic", 0, "percent", to="100"),
    "an annotation nobody knows": set_at(
        "metadata", "annotations", "run.googleapis.com/max-scale", to="3"
    ),
    "an annotation of the revision on the service": set_at(
        "metadata", "annotations", "run.googleapis.com/cpu-throttling", to="false"
    ),
    "an annotation of the service on the revision": set_at(
        "spec", "template", "metadata", "annotations", "run.googleapis.com/ingress", to="all"
    ),
    "an annotation that is no text": set_at(
        "metadata", "annotations", "run.googleapis.com/maxScale", to=3
    ),
}
TASK = ("spec", "template", "spec", "template", "spec")
JOB_FAULTS = {
    "a misspelt key": set_at("spec", "template", "spec", "taskCounts", to=1),
    "a key of the execution on the task": set_at(*TASK, "parallelism", to=2),
    "a key of the task on the execution": set_at("spec", "template", "spec", "maxRetries", to=1),
    "a service's key": set_at(*TASK, "containerConcurrency", to=8),
    "a number where a text belongs": set_at(*TASK, "timeoutSeconds", to=3600),
    "a time with a unit": set_at(*TASK, "timeoutSeconds", to="3600s"),
    "a text where a number belongs": set_at("spec", "template", "spec", "taskCount", to="1"),
    "a GPU as a number": set_at(*TASK, *LIMITS, "nvidia.com/gpu", to=1),
    "an annotation of a revision": set_at(
        "spec", "template", "metadata", "annotations", "run.googleapis.com/cpu-throttling", to="x"
    ),
    "an annotation of the execution on the job": set_at(
        "metadata", "annotations", to={"run.googleapis.com/execution-environment": "gen2"}
    ),
}
LIFECYCLE_FAULTS = {
    "a misspelt key": set_at("rules", to=[]),
    "an action that does not exist": set_at("rule", 0, "action", "type", to="Abort"),
    "an age that is a text": set_at("rule", 1, "condition", "age", to="7"),
    "one prefix, not a list": set_at("rule", 1, "condition", "matchesPrefix", to="source/"),
    "a condition nobody knows": set_at("rule", 1, "condition", "ageInDays", to=7),
}


@pytest.mark.parametrize("plant", SERVICE_FAULTS.values(), ids=SERVICE_FAULTS)
def test_a_fault_in_the_service_is_found(plant: Callable[[Mapping], None]) -> None:
    broken = copy.deepcopy(read("service.yaml"))
    plant(broken)
    assert len(faults_of_a_service(broken)) == 1


@pytest.mark.parametrize("plant", JOB_FAULTS.values(), ids=JOB_FAULTS)
def test_a_fault_in_the_job_is_found(plant: Callable[[Mapping], None]) -> None:
    broken = copy.deepcopy(read("job.yaml"))
    plant(broken)
    assert len(faults_of_a_job(broken)) == 1


@pytest.mark.parametrize("plant", LIFECYCLE_FAULTS.values(), ids=LIFECYCLE_FAULTS)
def test_a_fault_in_the_lifecycle_is_found(plant: Callable[[Mapping], None]) -> None:
    broken = json.loads((DEPLOY / "lifecycle.json").read_text())
    plant(broken)
    assert len(faults_of_a_lifecycle(broken)) == 1


def test_the_accepted_annotations_are_read_from_the_schema() -> None:
    assert "run.googleapis.com/maxScale" in accepted_annotations("Service")
    assert "run.googleapis.com/maxScale" not in accepted_annotations("Revision")
    assert "run.googleapis.com/client-name" in accepted_annotations("Revision")
    assert "run.googleapis.com/execution-environment" in accepted_annotations("Execution")


def test_a_task_knows_zonal_redundancy_in_version_2() -> None:
    """Why google_schemas.NOT_LISTED may add the annotation to what version 1 lists."""
    task = discovery_document("run.v2.json")["schemas"]["GoogleCloudRunV2TaskTemplate"]
    assert "gpuZonalRedundancyDisabled" in task["properties"]
    assert unknown_keys("run.v2.json", "GoogleCloudRunV2TaskTemplate", {"gpuZonal": True})


# What the schemas do not say: Google's rules in prose


@pytest.mark.parametrize("name", ON_A_GPU)
def test_an_l4_gets_the_processors_and_memory_it_must_have(name: str) -> None:
    limits = container(read(name))["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert int(limits["cpu"]) >= 4
    assert int(limits["memory"].removesuffix("Gi")) >= 16
    assert pod(read(name))["nodeSelector"] == {"run.googleapis.com/accelerator": "nvidia-l4"}
    annotations = read(name)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["run.googleapis.com/gpu-zonal-redundancy-disabled"] == "true"
    assert annotations["run.googleapis.com/execution-environment"] == "gen2"


def test_the_gpu_is_billed_with_its_instance() -> None:
    annotations = read("service.yaml")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["run.googleapis.com/cpu-throttling"] == "false"


@pytest.mark.parametrize("name", SERVICES)
def test_it_sleeps_when_nobody_asks_and_never_grows_without_bound(name: str) -> None:
    annotations = read(name)["metadata"]["annotations"]
    assert annotations["run.googleapis.com/minScale"] == "0"
    assert int(annotations["run.googleapis.com/maxScale"]) >= 3
    assert "autoscaling.knative.dev/minScale" not in str(read(name))


@pytest.mark.parametrize("name", [*SERVICES, "knative.yaml"])
@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
def test_a_probe_keeps_cloud_runs_bounds(name: str, probe: str) -> None:
    parts = container(read(name))[probe]
    [port] = container(read(name))["ports"]
    assert parts["httpGet"]["port"] == port["containerPort"]
    assert 1 <= parts["timeoutSeconds"] <= parts["periodSeconds"] <= 240
    assert set(parts) <= {"httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"}


@pytest.mark.parametrize("name", [*SERVICES, "knative.yaml"])
def test_a_start_that_waits_for_a_bucket_in_vain_says_so_before_it_is_ended(name: str) -> None:
    probe = container(read(name))["startupProbe"]
    said = inspect.signature(BucketFolder).parameters
    patience_s = said["retry_s"].default + said["timeout_s"].default
    assert patience_s < probe["periodSeconds"] * probe["failureThreshold"] <= 240


@pytest.mark.parametrize("name", [*SERVICES, "knative.yaml"])
def test_the_startup_probe_means_that_a_request_would_be_taken(name: str) -> None:
    assert container(read(name))["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container(read(name))["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_a_task_on_a_gpu_takes_an_hour_at_most_and_leaves_a_gpu_to_the_service() -> None:
    job = read("job.yaml")
    assert int(pod(job)["timeoutSeconds"]) <= 3_600
    assert pod(job)["maxRetries"] >= 1
    assert job["spec"]["template"]["spec"]["parallelism"] < 3


def test_what_is_deleted_is_what_was_uploaded_for_a_build() -> None:
    rules = json.loads((DEPLOY / "lifecycle.json").read_text())["rule"]
    deleting = [rule["condition"] for rule in rules if rule["action"]["type"] == "Delete"]
    assert deleting == [{"age": 7, "matchesPrefix": ["source/"]}]


# Knative


def test_knatives_file_is_the_services_without_cloud_run() -> None:
    service, knative = read("service.yaml"), read("knative.yaml")
    assert "run.googleapis.com" not in str(knative)
    assert pod(knative).pop("nodeSelector") == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    own = {"nodeSelector", "serviceAccountName"}
    role = {"name": "IMAGEGEN_ROLE", "value": "render"}
    container(service)["env"].remove(role)  # in a cluster one service does it all
    container(service)["env"][:] = [  # and has its queue in itself
        entry
        for entry in container(service)["env"]
        if not entry["name"].startswith(("IMAGEGEN_QUEUE", "IMAGEGEN_TASKS"))
    ]
    assert {name: part for name, part in pod(knative).items() if name not in own} == {
        name: part for name, part in pod(service).items() if name not in own
    }
    scale = knative["spec"]["template"]["metadata"]["annotations"]
    bounds = service["metadata"]["annotations"]
    for bound in ("minScale", "maxScale"):
        assert scale[f"autoscaling.knative.dev/{bound}"] == bounds[f"run.googleapis.com/{bound}"]


# The queue


def test_the_queue_tries_longer_than_the_service_and_leaves_others_their_places() -> None:
    script = (DEPLOY / "deploy.sh").read_text()
    said = {name: int(value) for name, value in re.findall(r"--(max-[a-z-]+) (\d+)", script)}
    assert said["max-attempts"] > MAX_DELIVERIES
    service = read("service.yaml")
    instances = int(service["metadata"]["annotations"]["run.googleapis.com/maxScale"])
    places = pod(service)["containerConcurrency"] * instances
    assert said["max-concurrent-dispatches"] == places // 2


# The code that is started


@pytest.mark.parametrize("name", [*SERVICES, "knative.yaml", "job.yaml"])
def test_the_settings_are_settings(name: str) -> None:
    settings = Settings.from_environment(environment(read(name)))
    # without it Cloud Logging does not find the trace that a line is of; a task of a job has none
    assert settings.known_project == (None if name == "job.yaml" else "my-project")
    assert settings.host == "0.0.0.0"
    assert settings.storage == "gs://my-bucket/pictures"
    assert settings.log_format == "json"


@pytest.mark.parametrize("name", [*SERVICES, "knative.yaml"])
def test_a_service_starts_where_others_reach_it(name: str) -> None:
    """Cloud Run lets in invokers alone; in a cluster the service is for the cluster."""
    refuse_openness(Settings.from_environment(environment(read(name))))
    visibility = read("knative.yaml")["metadata"]["labels"]["networking.knative.dev/visibility"]
    assert visibility == "cluster-local"


@pytest.mark.parametrize("name", ["service.yaml", "knative.yaml"])
def test_a_gpu_that_is_missing_stops_the_start_and_an_answer_comes_in_time(name: str) -> None:
    settings = Settings.from_environment(environment(read(name)))
    assert settings.device == "cuda"
    assert settings.deadline_s < pod(read(name))["timeoutSeconds"]


def test_the_pages_wait_longer_than_the_renderer_and_need_no_gpu() -> None:
    front, renderer = read("service-web.yaml"), read("service.yaml")
    settings = Settings.from_environment(environment(front))
    rendering = Settings.from_environment(environment(renderer))
    assert (settings.role, rendering.role) == ("web", "render")
    assert settings.render_url == FILLED_IN["RENDER_URL"]
    assert settings.deadline_s >= rendering.deadline_s
    assert settings.deadline_s + MARGIN_S < pod(front)["timeoutSeconds"]
    assert pod(renderer)["timeoutSeconds"] < pod(front)["timeoutSeconds"]
    assert "nvidia" not in str(front)
    annotations = front["spec"]["template"]["metadata"]["annotations"]
    assert annotations["run.googleapis.com/cpu-throttling"] == "true"
    assert front["metadata"]["name"] == "imagegen-web"


def test_the_job_runs_a_command_that_is_understood() -> None:
    parts = container(read("job.yaml"))
    python, *words = parts["command"]
    assert (python, words[:2]) == ("python", ["-m", "imagegen"])
    parsed = cli._parser().parse_args([*words[2:], *parts["args"]])
    assert parsed.file == "gs://my-bucket/batches/campaign.csv"
    assert Settings().max_queue >= parsed.concurrency
    assert environment(read("job.yaml"))["IMAGEGEN_DEVICE"] == "cuda"


@pytest.mark.parametrize(
    "file",
    ["Dockerfile", "cloudbuild.yaml", "README.md", "docs/deploy.md", *(
        f"deploy/{path.name}" for path in sorted(DEPLOY.iterdir()) if path.is_file()
    )],
)  # fmt: skip
def test_every_setting_named_exists(repository: Path, file: str) -> None:
    named = set(re.findall(r"IMAGEGEN_([A-Z_]*[A-Z])", (repository / file).read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}
