"""Settings: the only reader of the environment.

Every name has the prefix IMAGEGEN_, except those that Cloud Run sets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from imagegen.errors import InvalidSettings

PREFIX = "IMAGEGEN_"
_AUTO = "auto"
_TASK_NUMBERS = ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT")


class Settings(BaseModel):
    """Read once at start, frozen. An unknown IMAGEGEN_ name or a bad value stops the start."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False
    )

    role: Literal["all", "render", "web"] = Field(
        default="all",
        description="`all`: everything here. `render`: the API alone. "
        "`web`: pages and API without a model, pictures from `IMAGEGEN_RENDER_URL`.",
    )
    render_url: str | None = Field(
        default=None,
        description="Where the renderer of the role `web` is: `http(s)://host`.",
    )
    model: str = Field(
        default="starter",
        description="A folder in diffusers' layout, a Hub id, or `gs://…`; "
        "`starter` is the model that ships, `fake` draws gradients without a model.",
    )
    presets: str = Field(
        default="brand_presets", description="The folder of brands, here or published at `gs://…`."
    )
    storage: str = Field(
        default="file:./output",
        description="Where pictures go: `file:FOLDER` or `gs://bucket/prefix`.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="`auto` takes CUDA where there is one."
    )
    dtype: Literal["auto", "float32", "float16"] = Field(
        default="auto", description="`auto`: float16 on CUDA, float32 on CPU."
    )
    max_queue: int = Field(
        default=64,
        ge=8,
        le=10_000,
        description="Pictures that may wait, at least the 8 of one request; more get 429.",
    )
    max_rows: Literal["auto"] | Annotated[int, Field(ge=2, le=1_024)] = Field(
        default="auto",
        description="Denoiser rows in one step at most; guidance makes a picture take two. "
        "`auto`: as many as fit.",
    )
    deadline_s: float = Field(
        default=300.0,
        gt=0,
        le=3_600,
        description="The longest a request may take unless it says less.",
    )
    queue: str = Field(
        default="embedded",
        description="Where generations wait that nobody waits for (`Prefer: respond-async`). "
        "`embedded`: in the instance that was asked. `tasks:projects/P/locations/L/queues/Q`: "
        "in Cloud Tasks.",
    )
    tasks_url: str | None = Field(
        default=None,
        description="Whom Cloud Tasks calls: the address of the service that renders.",
    )
    tasks_account: str | None = Field(
        default=None, description="The service account in whose name Cloud Tasks calls."
    )
    urls: Literal["proxy", "signed"] = Field(
        default="proxy",
        description="Picture links: through this service, or signed by Cloud Storage for an hour.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines for people, or for Cloud Logging."
    )
    auth: str = Field(
        default="none",
        pattern="^(none|(keys|google|iap)(,(keys|google|iap)){0,2})$",
        description="Who may ask. `none`: whoever reaches the port. `keys`: API keys. `google`: "
        "Google ID tokens. `iap`: whom Identity-Aware Proxy let in. Several with commas.",
    )
    allow_anyone: Literal["no", "yes"] = Field(
        default="no",
        description="`yes`: `IMAGEGEN_AUTH=none` is meant, also where other machines reach the "
        "port; somebody else checks who comes.",
    )
    keys: str = Field(
        default="keys.json",
        min_length=1,
        description="The file of API keys, made by the command `keys`; changes are followed.",
    )
    api_key: str | None = Field(
        default=None,
        repr=False,
        pattern="^[!-~]+$",
        description="The key with which `--url` asks a service that wants one.",
    )
    callers: str | None = Field(
        default=None,
        description="A YAML file of the people who may come with `google` or `iap`, and their "
        "brands; changes are followed. Without it IAP's people may use every brand.",
    )
    google_audience: str | None = Field(
        default=None,
        description="For whom Google ID tokens must be meant: this service's address.",
    )
    iap_audience: str | None = Field(
        default=None,
        description="For whom IAP's assertions must be meant: `/projects/NUMBER/…`.",
    )
    requests_per_minute: Literal["any"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        default="any",
        description="How often a caller may ask for something to be made, per instance; more get "
        "429.",
    )
    project: str = Field(
        default="auto",
        pattern="^(auto|[a-z][a-z0-9:.-]*)$",
        description="The Google Cloud project whose traces the JSON lines name; "
        "`auto`: `GOOGLE_CLOUD_PROJECT`, where that is set.",
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="The address to listen on.")
    port: int = Field(
        default=8080, ge=0, le=65_535, description="The port to listen on; Cloud Run sets `PORT`."
    )
    usd_per_hour: float = Field(
        default=1.40,
        ge=0,
        description="What an instance that renders costs, its GPU included: for the estimate in "
        "each answer, and for `imagegen cost`.",
    )
    web_usd_per_hour: float = Field(
        default=0.0954,
        ge=0,
        description="What an instance without a GPU costs while it answers, for `imagegen cost`.",
    )

    @property
    def auth_ways(self) -> frozenset[str]:
        """How callers may show who they are; empty: they need not."""
        return frozenset(self.auth.split(",")) - {"none"}

    @property
    def known_project(self) -> str | None:
        return None if self.project == _AUTO else self.project

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Reads `environ` (the process's by default). Raises InvalidSettings naming every fault."""
        environ = os.environ if environ is None else environ
        said = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX)
        }
        if "PORT" in environ:
            said.setdefault("port", environ["PORT"])
        if said.get("project", _AUTO) == _AUTO:
            said["project"] = environ.get("GOOGLE_CLOUD_PROJECT") or _AUTO
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            from_platform = f"{PREFIX}PORT" not in environ
            faults = "; ".join(_sentence(fault, from_platform) for fault in error.errors())
            raise InvalidSettings(f"{faults}. See the settings table in README.md.") from None


def has_span_collector(environ: Mapping[str, str] | None = None) -> bool:
    """Whether OpenTelemetry's own variables say where spans go."""
    said = os.environ if environ is None else environ
    return any(said.get(f"OTEL_EXPORTER_OTLP_{name}ENDPOINT") for name in ("", "TRACES_"))


def revision(environ: Mapping[str, str] | None = None) -> str:
    """Which deployment this is, as Cloud Run says; "" elsewhere."""
    return (os.environ if environ is None else environ).get("K_REVISION", "")


@dataclass(frozen=True)
class JobTask:
    """Which task of a Cloud Run job this process is; Cloud Run says so, nobody else."""

    index: int  # from 0
    count: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> JobTask | None:
        """None outside a job. Raises InvalidSettings for numbers that make no sense."""
        environ = os.environ if environ is None else environ
        said = {name: environ[name] for name in _TASK_NUMBERS if name in environ}
        if not said:
            return None
        try:
            index, count = (int(said[name]) for name in _TASK_NUMBERS)
        except (KeyError, ValueError):
            index, count = 0, 0
        if not 0 <= index < count:
            raise InvalidSettings(f"Cloud Run's {said} name no task of a job")
        return cls(index, count)


def _sentence(fault: ErrorDetails, port_from_platform: bool) -> str:
    said = str(fault["loc"][0]).upper()
    name = said if said == "PORT" and port_from_platform else f"{PREFIX}{said}"
    if fault["type"] == "extra_forbidden":
        return f"{name} is not a setting"
    return f"{name}: {fault['msg']}"
