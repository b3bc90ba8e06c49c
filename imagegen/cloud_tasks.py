"""CloudTasks: a queue outside, which calls the renderer for each generation until it has ended, and
for each campaign now and then.

It calls POST {url}/tasks/{id} in the name of a service account, and the renderer holds that request
open while it renders: so Cloud Run sees the work, keeps instances for it and starts more.
https://cloud.google.com/tasks/docs/creating-http-target-tasks
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from imagegen.errors import InvalidSettings, ServiceUnreachable
from imagegen.settings import Settings

EMBEDDED = "embedded"
MAX_DELIVERIES = 25  # the last one records why it failed; the queue's own bound has to be above
_QUEUE = re.compile(r"tasks:(projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/queues/[A-Za-z0-9-]+)")
_ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+")
_START_S = 60.0  # a sleeping renderer may take before it begins
_SHORTEST_HOLD_S, _LONGEST_HOLD_S = 15.0, 1_800.0  # what Cloud Tasks allows
_TRY_S, _PATIENCE_S = 4.0, 8.0  # somebody waits for his 202 meanwhile
_AGAIN_S = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Which queue, whom it calls, and in whose name."""

    queue: str  # projects/…/locations/…/queues/…
    url: str  # of the service that renders; its tokens are meant for it
    account: str

    @classmethod
    def of(cls, settings: Settings) -> Target | None:
        """None for IMAGEGEN_QUEUE=embedded. Raises InvalidSettings."""
        more = {
            "IMAGEGEN_TASKS_URL": settings.tasks_url,
            "IMAGEGEN_TASKS_ACCOUNT": settings.tasks_account,
        }
        if settings.queue == EMBEDDED:
            if said := [name for name, value in more.items() if value is not None]:
                raise InvalidSettings(f"{said[0]} goes with IMAGEGEN_QUEUE=tasks:…")
            return None
        match = _QUEUE.fullmatch(settings.queue)
        if match is None:
            raise InvalidSettings(
                f"IMAGEGEN_QUEUE is {settings.queue!r}; use embedded or "
                "tasks:projects/PROJECT/locations/REGION/queues/QUEUE"
            )
        if missing := [name for name, value in more.items() if value is None]:
            raise InvalidSettings(f"IMAGEGEN_QUEUE=tasks:… needs {' and '.join(missing)}")
        url, account = (settings.tasks_url or "").rstrip("/"), settings.tasks_account or ""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            raise InvalidSettings(
                f"IMAGEGEN_TASKS_URL is {url!r}; use http(s)://host, the renderer's address"
            )
        if _ACCOUNT.fullmatch(account) is None:
            raise InvalidSettings(
                f"IMAGEGEN_TASKS_ACCOUNT is {account!r}; use a service account's e-mail address"
            )
        return cls(match[1], url, account)


class CloudTasks:
    """Used by any thread. Google's library is imported with the first task, or by `prepare`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._client: Any = None

    def prepare(self) -> None:
        """Imports what the first caller would have to wait for; returns at once."""

        def prepare() -> None:
            try:
                self._connected()
            except Exception as error:  # whatever credentials can be at fault; `put` says it again
                _log.warning("Cloud Tasks cannot be used: %s", error)

        threading.Thread(target=prepare, name="cloud-tasks", daemon=True).start()

    def put(
        self, path: str, moment: datetime, longest_s: float, *, due: datetime | None = None
    ) -> None:
        """Calls POST {url}/tasks/{path}. Put twice for the same moment, it waits once.

        longest_s: what answering may take. due: not before. Raises ServiceUnreachable where it is
        not known to wait.
        """
        from google.api_core.exceptions import AlreadyExists, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            client = self._connected()
            client.create_task(
                request=self._request(path, moment, longest_s, due),
                retry=_retrying(),
                timeout=_TRY_S,
            )
        except AlreadyExists:
            return  # an answer was lost, or somebody was quicker
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            detail = f"Cloud Tasks does not take {path}: {error}"
            raise ServiceUnreachable(detail, _AGAIN_S) from error

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = connect_to_google()
            return self._client

    def _request(
        self, path: str, moment: datetime, longest_s: float, due: datetime | None
    ) -> dict[str, Any]:
        """Named by the moment as well: a name that was used is refused for hours, also where
        nothing came of it.
        """
        target = self._target
        name = f"{path.replace('/', '-')}-{int(moment.timestamp() * 1_000)}"
        hold_s = min(max(longest_s + _START_S, _SHORTEST_HOLD_S), _LONGEST_HOLD_S)
        return {
            "parent": target.queue,
            "task": {
                "name": f"{target.queue}/tasks/{name}",
                "dispatch_deadline": {"seconds": int(hold_s)},
                **({} if due is None else {"schedule_time": due}),
                "http_request": {
                    "http_method": "POST",
                    "url": f"{target.url}/tasks/{path}",
                    "oidc_token": {
                        "service_account_email": target.account,
                        "audience": target.url,
                    },
                },
            },
        }


def connect_to_google() -> Any:
    """Google's own client, a CloudTasksClient. Over REST: that has no threads of its own."""
    from google.cloud.tasks_v2 import CloudTasksClient

    return CloudTasksClient(transport="rest")


def _retrying() -> Any:
    """What may pass is tried again for a few seconds; the name makes one task of all tries."""
    from google.api_core.exceptions import ServerError, TooManyRequests
    from google.api_core.retry import Retry, if_exception_type

    passing = if_exception_type(ServerError, TooManyRequests, OSError)
    return Retry(passing, initial=0.1, maximum=1.0, timeout=_PATIENCE_S)
