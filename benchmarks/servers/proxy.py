"""A TCP proxy before a PostgreSQL server, which drops the messages it is set to drop."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import sqlalchemy as sa

COMMIT = b"COMMIT\x00"  # the end of the message that asks for one


@dataclass(eq=False)
class _Link:
    """A client's connection and ours to the server."""

    client: socket.socket
    server: socket.socket
    mute: bool = False  # the next reply is lost, and the connection with it

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Stands between clients and the server of a URL, from its start to its end."""

    def __init__(self, url: str) -> None:
        self._server = sa.make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._passing = threading.Event()
        self._passing.set()
        self._links: list[_Link] = []
        self.loses: Callable[[], bool] = lambda: False  # a commit's reply; the server has done it
        self.lost = 0  # replies

    @property
    def url(self) -> str:
        """The same database, by way of the proxy."""
        port = self._listener.getsockname()[1]
        url = self._server.set(host="127.0.0.1", port=port)
        return url.render_as_string(hide_password=False)

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.reset()
        self._passing.set()

    def part(self) -> None:
        """From now on nothing passes, in neither direction, and no side gets an error."""
        self._passing.clear()

    def join(self) -> None:
        """What waits passes, as when packets are sent again."""
        self._passing.set()

    def reset(self) -> None:
        """Ends every connection; what waits is lost."""
        links, self._links = self._links, []
        for link in links:
            link.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._passing.wait()
        try:
            server = socket.create_connection((self._server.host, self._server.port or 5432))
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        self._links.append(link)
        threading.Thread(target=self._replies, args=(link,), daemon=True).start()
        self._requests(link)

    def _requests(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(65536):
                self._passing.wait()
                link.mute = data.endswith(COMMIT) and self.loses()
                link.server.sendall(data)
        link.close()

    def _replies(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.server.recv(65536):
                self._passing.wait()
                if link.mute:
                    self.lost += 1
                    break
                link.client.sendall(data)
        link.close()
