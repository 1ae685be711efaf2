"""A private PgBouncer in transaction mode before a private PostgreSQL server."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.postgres import Server, free_port

SETTINGS = """
[databases]
* = host=127.0.0.1 port={server} user=nas
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 5000
default_pool_size = {size}
"""
START_s = 30


def installed() -> bool:
    """True where the program is on this machine."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is not None


@contextmanager
def pooled(server: Server, size: int) -> Iterator[str]:
    """URL of the server through a pooler with `size` connections to each database."""
    with tempfile.TemporaryDirectory(prefix="nas-pool-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        settings, log = folder / "pgbouncer.ini", folder / "log"
        settings.write_text(SETTINGS.format(server=server.port, port=port, size=size))
        user = ["-u", "nobody"] if os.getuid() == 0 else []  # it refuses root
        environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
        with log.open("w") as out:
            process = subprocess.Popen(
                ["pgbouncer", *user, str(settings)], stderr=out, stdout=out, env=environment
            )
        try:
            _wait(port, process, log)
            yield f"postgresql://nas@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_s
    while True:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"pgbouncer did not start: {log.read_text()[-500:]}")
        time.sleep(0.05)
