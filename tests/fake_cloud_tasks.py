"""Cloud Tasks as far as Google's own client and our renderer see it, with every vice it may have.

Tasks are created over its REST API. They are delivered late, in any order, twice at once, and again
although they were answered: at least once, never exactly once.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from google_issuer import Signer, claims_of

ISSUER = "https://accounts.google.com"


@dataclass
class Vices:
    """Shares of 1. late_s: the longest that a delivery waits."""

    twice: float = 0.0
    again: float = 0.0  # an answer that gets lost
    late_s: float = 0.0


@dataclass
class FakeCloudTasks:
    """Calls one of `ports` at random, whatever host a task names."""

    signer: Signer
    ports: list[int] = field(default_factory=list)
    vices: Vices = field(default_factory=Vices)
    backoff_s: float = 0.1
    most_deliveries: int = 30
    delivers: bool = True
    earlier: int = 0  # deliveries that tasks are said to have had before
    refused_creations: int = 0  # to come
    lost_creations: int = 0  # to come: there, but nobody is told
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[tuple[str, int]] = field(default_factory=list)  # (path, status), 0 for none
    url: str = ""

    def __post_init__(self) -> None:
        self._random = random.Random(7)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(200)
        self._delivering: list[Future[None]] = []

    def create(self, parent: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer; 0 for none at all."""
        task = _read(body)
        with self._lock:
            if self.refused_creations:
                self.refused_creations -= 1
                return 503, {
                    "error": {"code": 503, "message": "try again", "status": "UNAVAILABLE"}
                }
            name = task["name"]
            assert name.startswith(f"{parent}/tasks/")
            if name in self.tasks:
                return 409, {"error": {"code": 409, "message": name, "status": "ALREADY_EXISTS"}}
            self.tasks[name] = task
            if self.delivers:
                self._delivering.append(self._pool.submit(self._deliver_until_answered, task))
            if self.lost_creations:
                self.lost_creations -= 1
                return 0, {}
        return 200, {"name": name}

    def token(self, **claims: Any) -> str:
        said = {"email": "tasks@p.iam.gserviceaccount.com", "email_verified": True} | claims
        return self.signer.token(claims_of(ISSUER, "https://renderer.test", **said))

    def deliver(self, task: dict[str, Any], earlier: int = 0) -> int:
        """Once; the status of the answer, 0 for none."""
        called = task["httpRequest"]
        path = urlsplit(called["url"]).path
        oidc = called["oidcToken"]
        token = self.token(aud=oidc["audience"], email=oidc["serviceAccountEmail"])
        headers = {
            "Authorization": f"Bearer {token}",
            "X-CloudTasks-TaskName": task["name"].rpartition("/")[2],
            "X-CloudTasks-TaskRetryCount": str(self.earlier + earlier),
            "Content-Length": "0",
        }
        with self._lock:
            port = self._random.choice(self.ports) if self.ports else 1
        limit_s = float(task["dispatchDeadline"].removesuffix("s"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)
        try:
            connection.request(called["httpMethod"], path, headers=headers)
            with connection.getresponse() as answer:
                status = answer.status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        self.answers.append((path, status))
        return status

    def _deliver_until_answered(self, task: dict[str, Any]) -> None:
        if "scheduleTime" in task:
            due = datetime.fromisoformat(task["scheduleTime"]).timestamp()
            if self._closed.wait(max(0.0, due - time.time())):
                return
        for earlier in range(self.most_deliveries):
            with self._lock:
                late_s = self._random.uniform(0, self.vices.late_s)
                copies = 2 if self._random.random() < self.vices.twice else 1
                is_lost = self._random.random() < self.vices.again
            if self._closed.wait(late_s):
                return
            with ThreadPoolExecutor(copies) as pool:
                statuses = list(pool.map(self.deliver, [task] * copies, [earlier] * copies))
            if any(200 <= status < 300 for status in statuses) and not is_lost:
                return
            if self._closed.wait(self.backoff_s):
                return

    def close(self) -> None:
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for delivering in self._delivering:
            if not delivering.cancelled():
                delivering.result()  # a fault of this fake is not to be missed

    def client(self) -> Any:
        """Google's own, which asks here."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.tasks_v2 import CloudTasksClient
        from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport

        host = urlsplit(self.url).netloc
        return CloudTasksClient(
            transport=CloudTasksRestTransport(
                host=host, url_scheme="http", credentials=AnonymousCredentials()
            )
        )


def _read(body: bytes) -> dict[str, Any]:
    """The task of a request, as Google's own schema has it: what that has not is an error."""
    from google.cloud.tasks_v2 import CreateTaskRequest
    from google.protobuf import json_format

    message = json_format.Parse(body, CreateTaskRequest.pb(CreateTaskRequest()))
    said: dict[str, Any] = json_format.MessageToDict(message.task)
    return said


@contextmanager
def fake_cloud_tasks(signer: Signer) -> Iterator[FakeCloudTasks]:
    said = FakeCloudTasks(signer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parent = urlsplit(self.path).path.removeprefix("/v2/").removesuffix("/tasks")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = said.create(parent, body)
            if status == 0:
                self.close_connection = True
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    said.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield said
    finally:
        said.close()
        server.shutdown()
        server.server_close()
        thread.join()
