"""Callers: who asks, and which brands he may use. Knows no HTTP."""

from imagegen.callers.caller import NOBODY, Caller
from imagegen.callers.forwarded import forwarded_caller, forwarded_headers

__all__ = ["NOBODY", "Caller", "forwarded_caller", "forwarded_headers"]
