"""What goes to Google is held against Google's own schemas, and against the code it starts."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google_schemas import accepted_annotations, faults_of_a_build, faults_of_a_service

from imagegen.renderers import STARTER_FOLDER
from imagegen.settings import Settings

Mapping = dict[str, Any]
BASH = shutil.which("bash") or "bash"
FILLED_IN = {
    "SERVICE": "imagegen",
    "IMAGE": "europe-west4-docker.pkg.dev/p/imagegen/imagegen@sha256:" + "0" * 64,
    "BUCKET": "my-bucket",
    "ACCOUNT": "imagegen@p.iam.gserviceaccount.com",
}


@pytest.fixture(scope="module")
def service(repository: Path) -> Mapping:
    """deploy/service.yaml as it reaches Cloud Run."""
    text = (repository / "deploy" / "service.yaml").read_text()
    return dict(yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda name: FILLED_IN[name[1]], text)))


@pytest.fixture(scope="module")
def build(repository: Path) -> Mapping:
    return dict(yaml.safe_load((repository / "cloudbuild.yaml").read_text()))


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> str:
    return (repository / "Dockerfile").read_text()


def container(service: Mapping) -> Mapping:
    [only] = service["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(service: Mapping, dockerfile: str) -> dict[str, str]:
    """What the process on Cloud Run finds: the image's, over it the service's, and PORT."""
    image = dict(re.findall(r"\b(IMAGEGEN_\w+)=(\S+)", dockerfile))
    return (
        image
        | {entry["name"]: entry["value"] for entry in container(service)["env"]}
        | {"PORT": "8080"}
    )


# Google's schemas


def test_cloud_run_accepts_the_service(service: Mapping) -> None:
    assert faults_of_a_service(service) == []


def test_cloud_build_accepts_the_build(build: Mapping) -> None:
    assert faults_of_a_build(build) == []


def set_at(*path: str | int, to: object) -> Callable[[Mapping], None]:
    def plant(document: Mapping) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return plant


SPEC = ("spec", "template", "spec")
SERVICE_FAULTS = {
    "a misspelt key": set_at(*SPEC, "containers", 0, "startupProb", to={}),
    "a key in the wrong place": set_at("spec", "containerConcurrency", to=8),
    "a text where a number belongs": set_at(*SPEC, "timeoutSeconds", to="300s"),
    "a number where a text belongs": set_at(
        *SPEC, "containers", 0, "resources", "limits", "cpu", to=8
    ),
    "a key deep inside": set_at(*SPEC, "containers", 0, "livenessProbe", "httpGet", "url", to="/"),
    "what only the server writes": set_at("spec", "traffic", to=[{"url": "https://example.org"}]),
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
BUILD_FAULTS = {
    "a misspelt key": set_at("step", to=[]),
    "a text where a list belongs": set_at("steps", 0, "args", to="build"),
    "a machine that does not exist": set_at("options", "machineType", to="E2_HIGHCPU_9"),
    "a time without a unit": set_at("timeout", to="3600"),
    "a size that is no number": set_at("options", "diskSizeGb", to="100G"),
    "what only the server writes": set_at("status", to="SUCCESS"),
}


@pytest.mark.parametrize("plant", SERVICE_FAULTS.values(), ids=SERVICE_FAULTS)
def test_a_fault_in_the_service_is_found(
    service: Mapping, plant: Callable[[Mapping], None]
) -> None:
    broken = copy.deepcopy(service)
    plant(broken)
    assert len(faults_of_a_service(broken)) == 1


@pytest.mark.parametrize("plant", BUILD_FAULTS.values(), ids=BUILD_FAULTS)
def test_a_fault_in_the_build_is_found(build: Mapping, plant: Callable[[Mapping], None]) -> None:
    broken = copy.deepcopy(build)
    plant(broken)
    assert len(faults_of_a_build(broken)) == 1


def test_the_accepted_annotations_are_read_from_the_schema() -> None:
    assert "run.googleapis.com/maxScale" in accepted_annotations("Service")
    assert "run.googleapis.com/maxScale" not in accepted_annotations("Revision")
    assert "run.googleapis.com/client-name" in accepted_annotations("Revision")


# What the schemas do not say: Cloud Run's rules in prose


def test_an_l4_gets_the_processors_and_memory_it_must_have(service: Mapping) -> None:
    limits = container(service)["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert int(limits["cpu"]) >= 4
    assert int(limits["memory"].removesuffix("Gi")) >= 16
    template = service["spec"]["template"]
    assert template["spec"]["nodeSelector"] == {"run.googleapis.com/accelerator": "nvidia-l4"}
    assert template["metadata"]["annotations"]["run.googleapis.com/cpu-throttling"] == "false"


def test_it_sleeps_when_nobody_asks_and_never_grows_without_bound(service: Mapping) -> None:
    annotations = service["metadata"]["annotations"]
    assert annotations["run.googleapis.com/minScale"] == "0"
    assert int(annotations["run.googleapis.com/maxScale"]) >= 3


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
def test_a_probe_keeps_cloud_runs_bounds(service: Mapping, probe: str) -> None:
    parts = container(service)[probe]
    [port] = container(service)["ports"]
    assert parts["httpGet"]["port"] == port["containerPort"]
    assert 1 <= parts["timeoutSeconds"] <= parts["periodSeconds"] <= 240
    assert set(parts) <= {"httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"}


def test_the_startup_probe_means_that_a_picture_can_be_rendered(service: Mapping) -> None:
    assert container(service)["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container(service)["livenessProbe"]["httpGet"]["path"] == "/livez"


# The code that is started


def test_the_settings_of_the_service_are_settings(service: Mapping, dockerfile: str) -> None:
    settings = Settings.from_environment(environment(service, dockerfile))
    assert settings.host == "0.0.0.0"
    assert settings.storage == "gs://my-bucket/pictures"
    assert settings.device == "cuda"
    assert settings.deadline_s < service["spec"]["template"]["spec"]["timeoutSeconds"]


@pytest.mark.parametrize(
    "file", ["Dockerfile", "cloudbuild.yaml", "deploy/service.yaml", "README.md"]
)
def test_every_setting_named_exists(repository: Path, file: str) -> None:
    named = set(re.findall(r"IMAGEGEN_([A-Z_]*[A-Z])", (repository / file).read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}


# The image


def test_hadolint_finds_nothing(repository: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [hadolint, repository / "Dockerfile"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_image_runs_as_a_numbered_user_that_is_not_root(dockerfile: str) -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[-1]
    assert int(user) > 0
    assert int(group) > 0


def test_its_user_may_write_pictures_where_the_settings_put_them(dockerfile: str) -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[-1]
    [folder] = re.findall(rf"--owner={user} --group={group} (\S+)$", dockerfile, re.MULTILINE)
    [at] = re.findall(r"^WORKDIR (\S+)$", dockerfile, re.MULTILINE)
    assert Settings().storage == f"file:./{Path(folder).relative_to(at)}"


def test_the_image_starts_with_the_starter_model(repository: Path, dockerfile: str) -> None:
    [model] = re.findall(r"^ARG MODEL=(\S+)$", dockerfile, re.MULTILINE)
    assert repository / model == STARTER_FOLDER


def test_the_image_carries_a_cuda_build_that_the_l4s_driver_runs(dockerfile: str) -> None:
    [index] = re.findall(r"^ARG TORCH_INDEX=(\S+)$", dockerfile, re.MULTILINE)
    assert index.rpartition("/")[2].startswith("cu12")


def test_the_model_is_a_layer_before_the_code(dockerfile: str) -> None:
    image = dockerfile.rpartition("\nFROM ")[2]
    packages, model, code = (
        image.index(copied) for copied in ("/opt/venv /opt/venv", "COPY ${MODEL}", "/app /app")
    )
    assert packages < model < code


def test_the_builder_sees_everything_the_image_copies(repository: Path, dockerfile: str) -> None:
    ignored = (repository / ".dockerignore").read_text().split()
    copied = re.findall(
        r"^COPY (?!--from)(\S+)", dockerfile.replace("${MODEL}", "imagegen"), re.MULTILINE
    )
    assert copied
    for name in copied:
        assert f"!{name}" in ignored


# The build


def test_the_steps_of_the_build(build: Mapping) -> None:
    steps = [step["id"] for step in build["steps"]]
    assert steps == ["build", "smoke-test", "push", "deploy"]


def test_every_script_is_bash_and_stops_at_its_first_fault(build: Mapping) -> None:
    for step in build["steps"]:
        assert step["script"].startswith("#!/usr/bin/env bash\nset -euo pipefail\n")
        subprocess.run([BASH, "-n", "-c", step["script"]], check=True)


def test_a_script_uses_no_variable_that_its_step_does_not_set(build: Mapping) -> None:
    for step in build["steps"]:
        unescaped = re.sub(r"\\\$", "", step["script"])
        used = set(re.findall(r"\$\{?([A-Z_]+)", unescaped))
        assert used <= {entry.partition("=")[0] for entry in step["env"]}, step["id"]


def test_every_substitution_is_set_or_cloud_builds_own(build: Mapping) -> None:
    own = {"PROJECT_ID", "BUILD_ID"}
    values = [entry for step in build["steps"] for entry in step["env"]]
    values += build["substitutions"].values()
    used = {name for value in values for name in re.findall(r"\$\{?([A-Z_]+)", value)}
    assert used - own == set(build["substitutions"])
    assert build["options"]["dynamicSubstitutions"] is True


def test_the_deploy_step_fills_in_the_service_by_digest(
    build: Mapping, service: Mapping, repository: Path, tmp_path: Path
) -> None:
    """Runs the step's own script, with a gcloud that keeps what it is given."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(repository / "deploy" / "service.yaml", tmp_path / "deploy")
    (tmp_path / "image-by-digest").write_text(FILLED_IN["IMAGE"] + "\n")
    gcloud = tmp_path / "gcloud"
    gcloud.write_text('#!/bin/sh\ncp service.yaml deployed.yaml; echo "$@" > arguments\n')
    gcloud.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PROJECT": "p", "REGION": "r"}
    subprocess.run(
        [BASH, "-c", build["steps"][-1]["script"]],
        cwd=tmp_path, env=FILLED_IN | environ, check=True,
    )  # fmt: skip
    assert yaml.safe_load((tmp_path / "deployed.yaml").read_text()) == service
    arguments = (tmp_path / "arguments").read_text()
    assert arguments == "run services replace service.yaml --project p --region r\n"
