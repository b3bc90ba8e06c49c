"""POST /tasks/{id}: Cloud Tasks calls for a generation, and is answered once it has ended.

POST /tasks/campaigns/{id}: it calls for a campaign, and is answered once somebody goes on with it.
Whatever is not 2xx is delivered again. https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler
"""

from __future__ import annotations

import logging

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from imagegen.campaigns import Campaigns
from imagegen.cloud_tasks import MAX_DELIVERIES
from imagegen.errors import Unauthenticated
from imagegen.generations.deliveries import Deliveries
from imagegen.web.caller import still_there

_log = logging.getLogger(__name__)


def tasks_blueprint(deliveries: Deliveries, campaigns: Campaigns) -> Blueprint:
    """Routes that nobody but the queue may call; they have their own check of who that is."""
    blueprint = Blueprint("tasks", __name__)

    @blueprint.before_request
    def require_queue() -> None:
        said = request.authorization
        token = said.token if said is not None and said.type == "bearer" else None
        try:
            deliveries.deliverer.require(token or "")
        except Unauthenticated:
            _log.error("a delivery to %.60s was refused: who calls is not known", request.path)
            raise

    @blueprint.post("/tasks/<generation_id>")
    def deliver(generation_id: str) -> ResponseReturnValue:
        # Counts those, too, that no instance was there for.
        earlier = request.headers.get("X-CloudTasks-TaskRetryCount", 0, int)
        is_last = earlier + 1 >= MAX_DELIVERIES
        deliveries.deliver(generation_id, still_there(request), is_last=is_last)
        return "", 204

    @blueprint.post("/tasks/campaigns/<campaign_id>")
    def call(campaign_id: str) -> ResponseReturnValue:
        campaigns.called(campaign_id)
        return "", 204

    return blueprint
