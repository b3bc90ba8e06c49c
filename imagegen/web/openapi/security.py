"""How a caller says who he is, by the ways that IMAGEGEN_AUTH opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCHEMES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "keys": {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key: `ig_…`."},
        "keyHeader": {
            "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same.",
        },
        "keyPassword": {
            "type": "http", "scheme": "basic", "description": "The same as a password; any user.",
        },
    },
    "google": {
        "google": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A Google ID token for this service.",
        },
    },
    "iap": {
        "iap": {
            "type": "apiKey", "in": "header", "name": "X-Goog-IAP-JWT-Assertion",
            "description": "Set by Google's Identity-Aware Proxy.",
        },
    },
}  # fmt: skip


def schemes_of(ways: frozenset[str]) -> dict[str, Any]:
    """Components of the document; any one of them is enough."""
    return {
        name: dict(said)
        for way, schemes in _SCHEMES.items()
        if way in ways
        for name, said in schemes.items()
    }
