"""A server that accepts and never answers: each connection is one wait of a client."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class SilentServer:
    """The server; every connection is one question that is waited for."""

    port: int
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def silent_server() -> Iterator[SilentServer]:
    """Have one for the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = SilentServer(listening.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    server.connections.append(listening.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)
    for link in server.connections:
        link.close()
