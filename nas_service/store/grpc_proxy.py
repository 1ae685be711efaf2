"""Optuna's gRPC proxy as the way to Optuna's tables, for more workers than a database has seats.

Leases and archive stay in the database itself, which NAS_DATABASE or NAS_DATABASE_FILE names: a
worker connects to it for a moment at a time.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage

from nas_service.errors import StoreError
from nas_service.store.database import url_from_file

SCHEME = "grpc://"
DEADLINE_s = 60.0  # for one call; Optuna's own client waits without end


def is_proxy(text: str) -> bool:
    return text.startswith(SCHEME)


def behind(environment: Mapping[str, str] | os._Environ[str]) -> str:
    """URL of the database behind the proxy; StoreError where nobody names it."""
    if url := environment.get("NAS_DATABASE"):
        return url
    if file := environment.get("NAS_DATABASE_FILE"):
        return url_from_file(Path(file), "NAS_DATABASE_FILE")
    raise StoreError(
        "grpc:// leads to Optuna's tables alone: name the database behind it with "
        "NAS_DATABASE_FILE or NAS_DATABASE"
    )


def proxy_storage(text: str) -> BaseStorage:
    """The proxy at grpc://HOST:PORT, each call with a deadline."""
    host, port = place_of(text)
    try:
        import grpc
        from optuna.storages import GrpcStorageProxy
        from optuna.storages._grpc.auto_generated import api_pb2_grpc
        from optuna.storages._grpc.client import GrpcClientCache
    except ImportError:
        raise StoreError(
            "grpc:// needs the packages grpcio and protobuf: pip install 'nas-service[proxy]'"
        ) from None

    class Deadline(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        def intercept_unary_unary(self, call: Any, details: Any, request: Any) -> Any:
            return call(details._replace(timeout=DEADLINE_s), request)

    class Proxy(GrpcStorageProxy):
        def _setup(self) -> None:
            most = [("grpc.max_receive_message_length", -1)]
            plain = grpc.insecure_channel(f"{host}:{port}", options=most)
            self._channel = grpc.intercept_channel(plain, Deadline())
            self._stub = api_pb2_grpc.StorageServiceStub(self._channel)  # type: ignore[no-untyped-call]
            self._cache = GrpcClientCache(self._stub)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return Proxy(host=host, port=port)


def place_of(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(text)
        if parts.hostname and parts.port and not (parts.username or parts.path or parts.query):
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise StoreError("the proxy's address is grpc://HOST:PORT, without more")
