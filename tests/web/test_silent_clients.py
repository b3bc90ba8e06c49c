"""A client that falls silent in the middle of a request must not keep a thread for ever."""

from __future__ import annotations

import contextlib
import logging
import socket
import time

import pytest
from gunicorn.config import Config

from imagegen import gunicorn_conf
from imagegen.engine.scheduling import Schedule
from imagegen.errors import QueueFull
from imagegen.generation import RenderSpec, RowLimits, Scheduler
from imagegen.gunicorn_conf import (
    BoundedConnection,
    DrainingWorker,
    QuietLogger,
    gunicorn_options,
)
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


def test_a_request_that_trickles_in_has_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_conf, "RECEIVE_S", 0.2)
    ours, client = socket.socketpair()
    with ours, client:
        connection = BoundedConnection(ours)
        for _ in range(2):  # the second request of a kept-alive connection has its own time
            client.sendall(b"GET /")
            assert connection.recv(100) == b"GET /"
            connection.sendall(b"HTTP/1.1 200 OK")
            time.sleep(0.25)
        client.sendall(b"G")
        assert connection.recv(100) == b"G"
        time.sleep(0.25)
        client.sendall(b"E")
        with pytest.raises(BlockingIOError):
            connection.recv(100)
        assert connection.recv(100, socket.MSG_PEEK) == b"E", "looking is always allowed"
        assert connection.recv(100) == b"", "gunicorn reads on before it closes"
        assert connection.fileno() == ours.fileno()


def test_a_large_request_over_a_slow_line_has_the_time_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gunicorn_conf, "RECEIVE_S", 0.1)
    monkeypatch.setattr(gunicorn_conf, "SLOWEST_BYTES_PER_S", 1_000)
    ours, client = socket.socketpair()
    with ours, client:
        connection = BoundedConnection(ours)
        for _ in range(4):  # 2,000 bytes a second
            client.sendall(bytes(200))
            assert len(connection.recv(1_000)) == 200
            time.sleep(0.1)
        time.sleep(0.8)
        client.sendall(b"late")
        with pytest.raises(BlockingIOError):
            connection.recv(100)


@pytest.mark.parametrize("max_queue", [8, 64])
def test_there_are_threads_for_everyone_the_engine_takes_in(max_queue: int) -> None:
    """Else the last ones would not even hear that the queue is full, nor the probes anything."""
    schedule = Schedule(max_queue=max_queue)
    schedule.limits = RowLimits(((64, RowLimits.MOST),))
    spec = RenderSpec("a", "a mug", "", 8, 8, 9, 1.0, Scheduler.DDIM, 0, (), exact=False)
    taken = 0
    with contextlib.suppress(QueueFull):
        while True:
            taken += len(schedule.submit([spec], f"caller {taken}", 9.0))
            schedule.admit()
    assert taken > max_queue + RowLimits.MOST
    assert gunicorn_options(max_queue, 3)["threads"] > taken


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


def test_a_client_that_does_not_close_his_end_has_a_moment_to() -> None:
    ours, client = socket.socketpair()
    with ours, client:
        connection = BoundedConnection(ours)
        client.sendall(b"more than was asked for")
        began = time.monotonic()
        connection.part(0.2)
        assert 0.15 < time.monotonic() - began < 5
        assert client.recv(1) == b"", "he has been told that nothing more comes"
        assert connection.recv(100) == b"", "gunicorn, which waits on its main loop, need not"


def test_a_client_that_closes_is_let_go_at_once() -> None:
    ours, client = socket.socketpair()
    with ours:
        client.close()
        began = time.monotonic()
        BoundedConnection(ours).part(60)
        assert time.monotonic() - began < 30


def test_a_port_that_was_closed_takes_nobody_in() -> None:
    """Its last event may wait behind the closing one: to accept then would end the worker."""
    worker = object.__new__(DrainingWorker)
    worker._port_closed = True
    worker.accept(None)
