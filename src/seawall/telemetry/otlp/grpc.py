"""OTLP/gRPC: the same requests through grpcio, which has to be installed.

For the exporter's thread: everything here blocks. gRPC is given bytes, no messages to serialize. An attempt
never raises: whatever happens becomes a :class:`~seawall.telemetry.otlp.verdict.Verdict`. gRPC's own retries
are off, so that there is one policy.

Forks: gRPC's core does not survive them. A child makes its own channel, and its parent's is left alone; but
a program that forks while a channel is open is better served by HTTP.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, final

from seawall.kernel.errors import UsageError
from seawall.telemetry.otlp.replies import accepted, grpc_verdict
from seawall.telemetry.otlp.settings import USER_AGENT, OtlpSettings
from seawall.telemetry.otlp.verdict import Answer, Verdict

__all__ = ["METHOD", "GrpcTransport"]

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    # When to try again is the exporter's to decide; left alone, a channel refuses to for two minutes.
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.primary_user_agent", USER_AGENT),
)

_left_behind: Final[list[Any]] = []
"""Channels of a parent process, kept for ever: to free one in a child would be to close it."""


@final
class GrpcTransport:
    """Sends requests over one channel.

    Args:
        settings: Where to, and how.

    Raises:
        UsageError: grpcio isn't installed.
    """

    __slots__ = ("_call", "_channel", "_compression", "_grpc", "_metadata", "_settings")

    def __init__(self, settings: OtlpSettings) -> None:
        try:
            self._grpc: Any = importlib.import_module("grpc")  # untyped, and optional
        except ImportError:
            raise UsageError(
                'protocol = "grpc" needs grpcio: pip install grpcio, or use protocol = "http/protobuf"'
            ) from None
        kinds = self._grpc.Compression
        self._compression = kinds.Gzip if settings.compression == "gzip" else kinds.NoCompression
        self._settings = settings
        self._metadata = tuple((name.lower(), value) for name, value in settings.headers)
        self._channel: Any = None
        self._call: Callable[..., Any] | None = None

    def send(self, body: bytes, spans: int, timeout_s: float) -> Verdict:
        """Make one attempt.

        Args:
            body: An ``ExportTraceServiceRequest``.
            spans: How many spans it holds.
            timeout_s: For all of it, connecting included.
        """
        try:
            if self._call is None:
                self._call = self._open()
            reply = self._call(
                body,
                timeout=timeout_s,
                metadata=self._metadata,
                compression=self._compression,
            )
        except self._grpc.RpcError as error:
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
            return grpc_verdict(error.code().name, error.details() or "", details)
        except OSError as error:  # the files of the certificates
            return Verdict(answer=Answer.RETRY, reason="tls", text=str(error))
        except Exception as error:  # noqa: BLE001 -- the application has nothing to do with it
            return Verdict(answer=Answer.RETRY, reason="fault", text=type(error).__name__)
        return accepted(reply, spans=spans)

    def close(self) -> None:
        """Let go of the channel; the next attempt opens another."""
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()

    def forked(self) -> None:
        """Begin anew in a child process."""
        if self._channel is not None:
            _left_behind.append((self._channel, self._call))
        self._channel = self._call = None

    def _open(self) -> Callable[..., Any]:
        settings, grpc = self._settings, self._grpc
        host = settings.url.hostname or ""
        target = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
        if settings.secure:
            files = (settings.certificate, settings.client_key, settings.client_certificate)
            credentials = grpc.ssl_channel_credentials(*map(_content, files))
            self._channel = grpc.secure_channel(target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        call: Callable[..., Any] = self._channel.unary_unary(METHOD)
        return call

    def __repr__(self) -> str:
        url = self._settings.url
        state = "closed" if self._channel is None else "open"
        return f"<GrpcTransport {url.scheme}://{url.hostname}:{self._settings.port} {state}>"


def _content(name: str | None) -> bytes | None:
    return None if name is None else Path(name).read_bytes()
