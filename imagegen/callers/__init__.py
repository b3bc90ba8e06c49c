"""Callers: who asks, and which brands he may use. Knows no HTTP."""

from imagegen.callers.caller import NOBODY, Caller

__all__ = ["NOBODY", "Caller"]
