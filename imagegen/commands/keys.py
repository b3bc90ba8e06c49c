"""`imagegen keys`: API keys, made, listed and revoked in the file that the service follows."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagegen.callers.key_file import change_keys, read_keys
from imagegen.callers.keys import CALLER_PATTERN, Keys, StoredKey
from imagegen.errors import InvalidCallers
from imagegen.generation import BRAND_PATTERN
from imagegen.settings import Settings

DONE = 0


def keys_create(arguments: Namespace) -> int:
    """The key goes to stdout, all that is said about it to stderr."""
    for name in filter(None, (arguments.caller, arguments.team)):
        if not re.fullmatch(CALLER_PATTERN, name):
            raise InvalidCallers(
                f"{name!r} cannot be a caller's or a team's name: small letters, digits and "
                "@ . _ + -, 100 at most, a letter or digit first"
            )
    brands = _brands(arguments.brands)
    now = datetime.now(UTC).replace(microsecond=0)

    def edit(keys: Keys) -> tuple[Keys, tuple[StoredKey, str]]:
        changed, stored, key = keys.with_new(arguments.caller, brands, now, arguments.team)
        return changed, (stored, key)

    stored, key = change_keys(_path(), edit)
    if arguments.json:
        print(json.dumps({"key": key} | _public(stored)))
        return DONE
    print(key)
    print(f"{_sentence(stored)}. It is shown this once; only its hash is kept.", file=sys.stderr)
    return DONE


def keys_list(arguments: Namespace) -> int:
    for stored in read_keys(_path()).keys:
        print(json.dumps(_public(stored)) if arguments.json else _sentence(stored))
    return DONE


def keys_revoke(arguments: Namespace) -> int:
    gone = change_keys(_path(), lambda keys: keys.without(arguments.id))
    print(json.dumps(_public(gone)) if arguments.json else f"revoked: {_sentence(gone)}")
    return DONE


def _path() -> Path:
    return Path(Settings.from_environment().keys)


def _brands(text: str | None) -> frozenset[str] | None:
    """Whether they exist is not asked: they may lie elsewhere, or come later."""
    if text is None:
        return None
    brands = frozenset(brand.strip() for brand in text.split(","))
    if wrong := sorted(brand for brand in brands if not re.fullmatch(BRAND_PATTERN, brand)):
        raise InvalidCallers(f"{', '.join(map(repr, wrong))}: no brand can be called so")
    return brands


def _public(stored: StoredKey) -> dict[str, Any]:
    return {
        "id": stored.id,
        "caller": stored.caller,
        "brands": None if stored.brands is None else sorted(stored.brands),
        "team": stored.team,
        "created_at": stored.created_at.isoformat(),
    }


def _sentence(stored: StoredKey) -> str:
    brands = "every brand" if stored.brands is None else ", ".join(sorted(stored.brands))
    team = f" of {stored.team}" if stored.team else ""
    return f"{stored.id}  {stored.created_at:%Y-%m-%d}  {stored.caller}{team}: {brands}"
