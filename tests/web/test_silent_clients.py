"""A client that falls silent in the middle of a request must not keep a thread for ever."""

from __future__ import annotations

import logging
import socket
import time

import pytest
from gunicorn.config import Config

from imagegen.gunicorn_conf import QuietLogger
from imagegen.wsgi import listen


def test_connections_inherit_the_bound_on_silence() -> None:
    with (
        listen("127.0.0.1", 0, stalled_s=1) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
    ):
        connection, _ = listener.accept()
        with connection:
            connection.setblocking(True)  # as gunicorn does before it reads
            client.sendall(b"GET / HTTP/1.1\r\nX-Half: ")
            assert connection.recv(100) == b"GET / HTTP/1.1\r\nX-Half: "
            began = time.monotonic()
            with pytest.raises(BlockingIOError):
                connection.recv(100)
            assert 0.9 < time.monotonic() - began < 5
            with pytest.raises(BlockingIOError):  # nobody reads what is sent
                connection.sendall(bytes(100_000_000))


def test_the_log_leaves_silent_clients_out(caplog: pytest.LogCaptureFixture) -> None:
    logger = QuietLogger(Config())
    for error in (BlockingIOError(), OSError("something else")):
        try:
            raise error
        except OSError:
            logger.exception("Socket error processing request.")
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "something else"
