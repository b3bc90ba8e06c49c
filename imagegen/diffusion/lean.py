"""Imports diffusers without what a render never uses: 0.7 instead of 3.1 seconds.

diffusers imports transformers, peft and accelerate wherever they are installed, for pipelines and
loaders that are not used here, and torch's compiler to mark functions for it, which compiles
nothing here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_UNUSED = ("peft", "transformers", "accelerate")
_COMPILER = "torch._dynamo"
_HIDES_ITS_COMPILER = (2, 13)  # older ones import parts of it for layers that are used here


@contextmanager
def lean_imports() -> Iterator[None]:
    """While it lasts these are not installed, and marks for a compiler do nothing.

    Where any of them is there already, as in a training, nothing is hidden: they rely on each
    other. Afterwards nothing in the process may use diffusers' own pipelines.
    """
    import torch

    if any(name in sys.modules for name in (*_UNUSED, _COMPILER, "diffusers")):
        yield
        return
    sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # None: not importable
    compiler = _no_compiler()
    if _release(torch.__version__) >= _HIDES_ITS_COMPILER:
        sys.modules[_COMPILER] = vars(torch)["_dynamo"] = compiler
    try:
        yield
    finally:
        for name in _UNUSED:
            sys.modules.pop(name, None)
        if sys.modules.get(_COMPILER) is compiler:
            del sys.modules[_COMPILER], vars(torch)["_dynamo"]


def _release(version: str) -> tuple[int, ...]:
    """Of "2.13.0+cu130": (2, 13)."""
    return tuple(int(number) for number in version.split(".")[:2])


def _no_compiler() -> ModuleType:
    compiler = ModuleType(_COMPILER)
    vars(compiler).update(allow_in_graph=_unchanged, disable=_unchanged)
    return compiler


def _unchanged(function: F | None = None, *_: object, **__: object) -> F | Callable[[F], F]:
    """For `mark(f)` and for `@mark(reason=…)`."""
    return (lambda same: same) if function is None else function
