"""For those who run it: /livez, /readyz, /metrics."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from imagegen.engine.desk import NEXT_INSTANCE_S
from imagegen.engine.process import RenderProcess
from imagegen.errors import ModelFailed
from imagegen.metrics import Metrics
from imagegen.service import ImageService
from imagegen.web.errors import retry_after


def ops_blueprint(service: ImageService, engine: RenderProcess, metrics: Metrics) -> Blueprint:
    """The routes that probes and Prometheus call; none of them waits for anything."""
    ops = Blueprint("ops", __name__)

    @ops.get("/livez")
    def livez() -> ResponseReturnValue:
        """200 unless only another instance can help: then the platform shall replace this one."""
        status = engine.status()
        if status.hopeless:
            raise ModelFailed(
                f"the render process has died too often ({status.error}); replace this instance",
                NEXT_INSTANCE_S,
            )
        return jsonify(status="alive")

    @ops.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """200 when a picture could be rendered now; else 503 with the phase that it is in."""
        status = engine.status()
        ready = status.ready and not service.door.closed
        body = {
            "phase": "draining" if service.door.closed else status.phase,
            "eta_s": status.eta_s,
            "queued": status.queued,
            "running": status.running,
        }
        if status.error is not None:
            body["error"] = status.error
        if ready:
            return jsonify(body)
        return jsonify(body), 503, {"Retry-After": str(retry_after(status.eta_s))}

    @ops.get("/metrics")
    def exposition() -> ResponseReturnValue:
        return Response(metrics.exposition(), content_type=metrics.content_type)

    return ops
