"""Callers: who asks, and which brands he may use. Knows no HTTP."""

from imagegen.callers.caller import NOBODY, Caller
from imagegen.callers.deliverer import Deliverer
from imagegen.callers.forwarded import forwarded_caller, forwarded_headers
from imagegen.callers.identities import Identities, Shown

__all__ = [
    "NOBODY", "Caller", "Deliverer", "Identities", "Shown", "forwarded_caller", "forwarded_headers"
]  # fmt: skip
