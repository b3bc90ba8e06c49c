"""What the role `web` talks to, under a test's control: a renderer, Google's metadata, a wire."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answers = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, dict[str, str], bytes]]


@contextlib.contextmanager
def running(answers: Answers, certificate: Path | None = None) -> Iterator[str]:
    """A server on loopback, https where it has a certificate; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, data = answers(self, body)
            with contextlib.suppress(OSError):  # nobody waits any more
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Renderer:
    """Answers what it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.phase = "ready"
        self.generate: tuple[int, dict[str, str], bytes] = (500, {}, b"")
        self.open = threading.Event()  # closed: /generate is held
        self.open.set()
        self.awake = threading.Event()  # closed: /readyz is held, as Cloud Run does
        self.awake.set()

    def __call__(
        self, handler: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(f"{handler.command} {handler.path}")
        self.headers.append(dict(handler.headers))
        self.bodies.append(body)
        if handler.path == "/generate":
            self.open.wait(20)
            return self.generate
        if handler.path == "/readyz":
            self.awake.wait(20)
            said = {
                "phase": self.phase, "eta_s": 12.5, "queued": 3, "running": 1,
                "start_s": {"import": 1.5},
            }  # fmt: skip
            return (200 if self.phase == "ready" else 503), {}, json.dumps(said).encode()
        return 200, {}, b'{"model": null}'


class Metadata:
    """Google's metadata server, as far as ID tokens go.

    https://cloud.google.com/run/docs/securing/service-identity: a GET with `Metadata-Flavor:
    Google` to …/service-accounts/default/identity?audience=… gives a JWT; answers carry the same
    header, by which a client knows the server.
    """

    def __init__(self, lives_s: float) -> None:
        self.lives_s = lives_s
        self.asked: list[str] = []

    def __call__(
        self, handler: BaseHTTPRequestHandler, _body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        flavour = {"Metadata-Flavor": "Google"}
        if handler.headers.get("Metadata-Flavor") != "Google":
            return 403, flavour, b"Missing Metadata-Flavor:Google header."
        path, _, query = handler.path.partition("?")
        if not path.endswith("/service-accounts/default/identity"):
            account = b'{"email": "web@p.iam.gserviceaccount.com", "scopes": []}'
            return 200, flavour | {"Content-Type": "application/json"}, account
        self.asked.append(query)
        claims = {"exp": time.time() + self.lives_s, "number": len(self.asked)}
        parts = (b'{"alg":"RS256"}', json.dumps(claims).encode(), b"signature")
        token = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        return 200, flavour | {"Content-Type": "text/html"}, token


def number_of(token: str) -> int:
    """Which of the metadata server's tokens it is, from 1."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return int(claims["number"])


def write_certificate(path: Path) -> Path:
    """One that a process trusts whose SSL_CERT_FILE it is."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path


class Wire:
    """Carries connections to a port, counts what is asked on them, and can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Whoever is connected is so no more."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._port))
                except OSError:  # nobody is there any more: the next one is asked for anew
                    near.close()
                    continue
                self._open += [near, far]
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        first = asks
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if first:
                    self.asked.append(data.split(b" HTTP/")[0].decode())
                    first = False
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                end.close()
