"""Child: the parent's end of one render process.

A plain subprocess and a socket pair instead of `multiprocessing`'s spawn, which would import the
parent's `__main__` again in the child: gunicorn's script, `python -m imagegen`, or a user's script
without its `if __name__` line.
"""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import Any

from imagegen.engine.messages import FromChild, Start, ToChild

ENTRY = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from imagegen.engine.child import main; main(int(sys.argv[1]))"
)
EXIT_WAIT_S = 5.0
STALLED_S = 20  # a child that stops in the middle of a message is as good as dead


class Child:
    """A render process that has been started. Used by one thread."""

    def __init__(self, start: Start) -> None:
        """Returns before the child has imported anything. Raises OSError if no process starts."""
        self.connection: Connection[Any, Any]
        self.connection, theirs = Pipe()
        _bound_waiting(self.connection)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                [sys.executable, "-P", "-c", ENTRY, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C at the terminal is for the parent
            )
        except OSError:
            self.connection.close()
            raise
        finally:
            theirs.close()
        self.send(start)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Start | ToChild) -> None:
        try:
            self.connection.send(message)
        except OSError:  # it has died, or is stopped and now has half a message
            self._process.kill()  # which `receive` or `ended` will tell

    def receive(self) -> FromChild | None:
        """The next message if one is there. Raises EOFError when the child has ended."""
        try:
            return self.connection.recv() if self.connection.poll() else None
        except OSError as error:
            raise EOFError from error

    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self, *, now: bool) -> str:
        """Kills it now, or after a while in which it should exit by itself; says how it ended."""
        if now:
            self._process.kill()
        try:
            code = self._process.wait(timeout=EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            if now:
                return f"could not be killed within {EXIT_WAIT_S:g} s"
            return self.end(now=True)
        finally:
            self.connection.close()
        return f"ended with code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _bound_waiting(connection: Connection[Any, Any]) -> None:
    """Whoever waits in the middle of a message must not wait for ever: he is the watchdog."""
    end = socket.socket(fileno=connection.fileno())
    for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        end.setsockopt(socket.SOL_SOCKET, direction, struct.pack("ll", STALLED_S, 0))
    end.detach()  # the connection remains the descriptor's owner
