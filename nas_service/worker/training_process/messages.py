"""Messages between a worker, its fork server and a child: JSON in bytes over pipes.

From the worker: {"job": ...} and {"signal": number}. To the worker: {"started": pid}, all messages
of the child ({"log": ...}, {"result": ...}, {"failure": ...}, {"stopped": true}), and
{"end": exit code, "oom": bool} when the child is gone.
"""

import json
from multiprocessing.connection import Connection
from typing import Any, cast

Message = dict[str, Any]


def send(pipe: Connection, message: Message) -> None:
    """Sends one message.

    Args:
        pipe: To the other process.
        message: A document that JSON can express.

    Raises:
        OSError: The other process has ended.
    """
    pipe.send_bytes(json.dumps(message).encode())


def receive(pipe: Connection) -> Message:
    """Waits for one message; raises EOFError or OSError when the other side is gone."""
    return cast(Message, json.loads(pipe.recv_bytes()))
