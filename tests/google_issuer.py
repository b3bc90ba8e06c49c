"""What signs tokens in Google's place, under a test's control, and serves its public keys."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID


class Signer:
    """A key pair of Google's kind: certificates for RS256, bare public keys for ES256."""

    def __init__(self, algorithm: str, name: str) -> None:
        self.algorithm, self.name = algorithm, name
        self._rsa = rsa.generate_private_key(65_537, 2_048) if algorithm == "RS256" else None
        self._ec = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else None

    @property
    def pem(self) -> str:
        if self._ec is not None:
            return (
                self._ec.public_key()
                .public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                .decode()
            )
        assert self._rsa is not None
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        now = datetime.now(UTC)
        certificate = x509.CertificateBuilder(
            name, name, self._rsa.public_key(), 1, now - timedelta(1), now + timedelta(1)
        ).sign(self._rsa, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def token(self, claims: dict[str, Any], **header: Any) -> str:
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.name} | header
        signed = f"{_part(head)}.{_part(claims)}"
        return f"{signed}.{_base64(self.sign(signed.encode()))}"

    def sign(self, data: bytes) -> bytes:
        if self._rsa is not None:
            return self._rsa.sign(data, padding.PKCS1v15(), hashes.SHA256())
        assert self._ec is not None
        r, s = decode_dss_signature(self._ec.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def claims_of(issuer: str, audience: str, **more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": issuer, "aud": audience, "sub": "107", "iat": now - 5, "exp": now + 600} | more


def unsigned(claims: dict[str, Any], name: str) -> str:
    return f"{_part({'alg': 'none', 'kid': name})}.{_part(claims)}."


def signed_with_public_key(claims: dict[str, Any], signer: Signer) -> str:
    """Where a verifier believes the header, its own public key becomes HS256's shared secret."""
    signed = f"{_part({'alg': 'HS256', 'kid': signer.name})}.{_part(claims)}"
    mac = hmac.new(signer.pem.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64(mac)}"


class KeyServer:
    """Gives the public keys of whoever is in `signers`; counts how often it was asked."""

    def __init__(self) -> None:
        self.signers: list[Signer] = []
        self.asked = 0
        self.broken = False
        self.url = ""


@contextlib.contextmanager
def key_server(*signers: Signer) -> Iterator[KeyServer]:
    said = KeyServer()
    said.signers = list(signers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked += 1
            body = json.dumps({one.name: one.pem for one in said.signers}).encode()
            self.send_response(500 if said.broken else 200)
            self.send_header("Cache-Control", "public, max-age=21600, must-revalidate")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    said.url = f"http://127.0.0.1:{server.server_port}/keys"
    try:
        yield said
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _part(table: dict[str, Any]) -> str:
    return _base64(json.dumps(table).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
