"""Last call: whoever has got through is served, nobody new gets through, nobody is reset."""

from __future__ import annotations

import socket

import pytest

from imagegen.last_call import last_call


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_who_is_there_is_served_and_nobody_else_comes(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        address = listener.getsockname()[:2]
        with socket.create_connection(address) as early, socket.socket(family) as late:
            last_call(listener)
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.connect(address)
            early.sendall(b"hello")  # packets of a connection pass
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(5) == b"hello"
                accepted.sendall(b"you too")
            assert early.recv(7) == b"you too"
            listener.settimeout(0.1)
            with pytest.raises(TimeoutError):
                listener.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
