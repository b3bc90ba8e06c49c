"""For those who run it: /livez, /readyz, /warm, /metrics."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden, NotFound

from imagegen.engine.desk import NEXT_INSTANCE_S
from imagegen.engine.process import EngineStatus
from imagegen.errors import ModelFailed
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.errors import retry_after


def ops_blueprint(parts: Collaborators) -> Blueprint:
    """The routes that probes, Prometheus and pages call; none waits for more than seconds."""
    ops = Blueprint("ops", __name__)

    @ops.get("/livez")
    def livez() -> ResponseReturnValue:
        """200 unless only another instance can help: then the platform shall replace this one."""
        status = parts.engine.status()
        if status.hopeless:
            raise ModelFailed(
                f"the render process has died too often ({status.error}); replace this instance",
                NEXT_INSTANCE_S,
            )
        return jsonify(status="alive")

    @ops.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """200 when a request would be taken now; else 503 with the phase that it is in."""
        status, draining = parts.engine.status(), parts.service.door.closed
        body = _state(status, draining=draining)
        if status.ready and not draining:
            return jsonify(body)
        return jsonify(body), 503, {"Retry-After": str(retry_after(status.eta_s))}

    @ops.post("/warm")
    def warm() -> ResponseReturnValue:
        """Somebody is about to ask for a picture. Answers what /readyz would say."""
        parts.warm()
        return jsonify(_state(parts.engine.status(), draining=parts.service.door.closed)), 202

    @ops.get("/metrics")
    def exposition() -> ResponseReturnValue:
        """For whoever may use every brand: the figures name brands and campaigns."""
        if current_caller().brands is not None:
            raise Forbidden("the metrics are for callers who may use every brand")
        return Response(parts.metrics.exposition(), content_type=parts.metrics.content_type)

    return ops


def pageless_blueprint() -> Blueprint:
    """What the role `render` has in place of pages: a word on where they are."""
    pageless = Blueprint("pageless", __name__)

    @pageless.get("/")
    def page() -> ResponseReturnValue:
        raise NotFound(
            "this service renders and has no pages; they are at the service with the role web. "
            "What may be asked here is at /capabilities"
        )

    return pageless


def _state(status: EngineStatus, *, draining: bool) -> dict[str, Any]:
    body = {
        "phase": "draining" if draining else status.phase,
        "eta_s": status.eta_s,
        "queued": status.queued,
        "running": status.running,
        "start_s": {phase: round(spent, 2) for phase, spent in status.start_s.items()},
    }
    return body if status.error is None else {**body, "error": status.error}
