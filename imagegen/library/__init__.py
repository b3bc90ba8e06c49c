"""Library: what people see of all that was made, and what they think of it."""

from imagegen.library.library import Library

__all__ = ["Library"]
