"""Optuna's gRPC proxy in a process of its own, on the loopback.

NAS_STORAGE=postgresql://... python benchmarks/servers/grpc.py PORT
"""

import os
import socket
import subprocess
import sys
import warnings
from types import TracebackType

STORAGE = "NAS_STORAGE"  # of the process: a password stands on no command line


def serve(port: int) -> None:
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import get_storage, run_grpc_proxy_server

    from nas_service.store.database import checked_url

    warnings.simplefilter("ignore", ExperimentalWarning)
    url = checked_url(os.environ[STORAGE])
    storage = get_storage(url.render_as_string(hide_password=False))
    run_grpc_proxy_server(storage, host="127.0.0.1", port=port)


class Proxy:
    """The proxy in front of a database, at one port for this life and the next."""

    def __init__(self, database: str) -> None:
        self.database = database
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = int(s.getsockname()[1])

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        from nas_service.store.grpc_proxy import proxy_storage

        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.port)],
            env={**os.environ, STORAGE: self.database},
            stderr=subprocess.DEVNULL,
        )
        storage: object = proxy_storage(self.url)
        storage.wait_server_ready(timeout=60)  # type: ignore[attr-defined]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "Proxy":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules have names of installed ones
    serve(int(sys.argv[1]))
