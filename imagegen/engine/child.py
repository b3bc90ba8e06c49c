"""The render process: loads the renderer, then takes turns until its parent or poison ends it.

Imports at the top are few and light: signals must be ignored, and the connection watched, before
the heavy ones begin.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NoReturn

from imagegen.engine.calls import PoisonedRenderer, sentence
from imagegen.engine.messages import Entered, LoadFailed, Poisoned, Ready, Start, ToChild
from imagegen.engine.renderer import Renderer
from imagegen.engine.turn import Turns
from imagegen.errors import OperatorError
from imagegen.generation import RowLimits
from imagegen.logs import configure_logs


def main(descriptor: int) -> NoReturn:
    """Serves the parent at the other end of the socket `descriptor`."""
    gc.disable()  # imports make no garbage, and to look for it takes a third of their time
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when we end
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        start = connection.recv()
    except (EOFError, OSError):
        _exit(0)
    _serve(connection, start)


def _serve(connection: Connection[Any, Any], start: Start) -> NoReturn:
    inbox: SimpleQueue[ToChild] = SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox), name="inbox", daemon=True).start()
    if start.logs is not None:
        configure_logs(start.logs)
    renderer, limits = _load(connection, start)
    try:
        Turns(renderer, limits, inbox, connection.send).run()
    except PoisonedRenderer as error:
        cause = "".join(traceback.format_exception(error.__cause__))
        connection.send(Poisoned(str(error), cause))
    except Exception as error:  # a fault of our own loop, or the parent has gone
        with suppress(OSError):
            connection.send(Poisoned(sentence(error), traceback.format_exc()))
    finally:
        _exit(1)


def _load(connection: Connection[Any, Any], start: Start) -> tuple[Renderer[Any], RowLimits]:
    try:
        renderer: Renderer[Any] = pickle.loads(start.make_renderer)()  # noqa: S301 - our own parent wrote it
        model = renderer.load(lambda phase: connection.send(Entered(phase)))
    except Exception as error:
        final = isinstance(error, OperatorError)
        text = str(error) if final else f"{type(error).__name__}: {error}"
        connection.send(LoadFailed(text, final, traceback.format_exc()))
        _exit(1)
    if start.max_rows is not None:
        model = replace(model, row_limits=model.row_limits.capped(start.max_rows))
    gc.freeze()  # what is there will stay: nobody need look at it again
    gc.enable()
    connection.send(Ready(model))
    return renderer, model.row_limits


def _read(connection: Connection[Any, Any], inbox: SimpleQueue[ToChild]) -> None:
    """Ends the process, whatever it does just now, when the parent has gone."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        _exit(0)


def _exit(code: int) -> NoReturn:
    """At once: a poisoned GPU library may hang in its clean-up."""
    os._exit(code)
