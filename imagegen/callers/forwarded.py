"""Between our own services: the headers in which one of them says for whom it asks."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from imagegen.callers.caller import Caller

_NAME, _OWNER = "X-Imagegen-Caller", "X-Imagegen-Owner"
_LONGEST = 1_000  # characters as they are sent; an e-mail address has 254


def forwarded_headers(caller: Caller) -> dict[str, str]:
    """Brands are not among them: whoever forwards has refused those that are not the caller's."""
    said = {_NAME: caller.name, _OWNER: caller.owner}
    return {header: quote(text, safe="@:+") for header, text in said.items() if text}


def forwarded_caller(headers: Mapping[str, str]) -> Caller | None:
    """The caller that another service of ours asks for; None where it says nothing."""
    name, owner = (unquote(headers.get(header, ""))[:_LONGEST] for header in (_NAME, _OWNER))
    return Caller(name or owner, owner=owner) if name or owner else None
