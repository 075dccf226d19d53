"""OTLP/gRPC: the same requests through grpcio, which has to be installed.

The bytes are those of ``encode``; gRPC is given no messages to serialize. An attempt never raises: whatever
happens becomes a :class:`~seawall.telemetry.otlp.retry.Verdict`. gRPC's own retries are off, so that there
is one policy.

Forks: gRPC's core does not survive them. A child makes its own channel, and its parent's is left alone; but
a program that forks while a channel is open is better served by HTTP.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, final

from seawall._version import __version__
from seawall.kernel.errors import UsageError
from seawall.telemetry.otlp.encode import Request
from seawall.telemetry.otlp.replies import grpc_verdict, partial_success, shortened
from seawall.telemetry.otlp.retry import Answer, Verdict
from seawall.telemetry.otlp.settings import OtlpSettings
from seawall.telemetry.otlp.worker import Worker

__all__ = ["METHOD", "GrpcTransport"]

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.primary_user_agent", f"OTel-OTLP-Exporter-Python-Seawall/{__version__}"),
)


@final
class GrpcTransport:
    """Sends requests over one channel.

    Args:
        settings: Where to, and how.

    Raises:
        UsageError: grpcio isn't installed.
    """

    __slots__ = ("_call", "_channel", "_files", "_grpc", "_left_behind", "_loop", "_metadata", "_settings")

    def __init__(self, settings: OtlpSettings) -> None:
        try:
            # Untyped, and optional; imported here, where it may take its time.
            importlib.import_module("grpc.aio")
            self._grpc: Any = importlib.import_module("grpc")
        except ImportError:
            raise UsageError(
                'protocol = "grpc" needs grpcio: pip install grpcio, or use protocol = "http/protobuf"'
            ) from None
        self._settings = settings
        self._metadata = tuple((name.lower(), value) for name, value in settings.headers)
        self._files = Worker("seawall-otlp-files")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Any = None
        self._call: Callable[..., Any] | None = None
        self._left_behind: list[Any] = []

    async def pack(self, request: Request) -> bytes:
        """The message of a request."""
        return b"".join(request.pieces)

    async def send(self, body: bytes, spans: int, timeout_s: float) -> Verdict:
        """Make one attempt.

        Args:
            body: What :meth:`pack` gave.
            spans: How many spans it holds.
            timeout_s: For all of it, connecting included.
        """
        grpc = self._grpc
        try:
            if asyncio.get_running_loop() is not self._loop:  # a channel belongs to the loop it was made on
                self._leave()
                self._loop = asyncio.get_running_loop()
            call = self._call or await self._open()
            reply = await call(
                body,
                timeout=timeout_s,
                metadata=self._metadata,
                compression=grpc.Compression.Gzip if self._settings.gzip else grpc.Compression.NoCompression,
            )
        except grpc.aio.AioRpcError as error:
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
            return grpc_verdict(error.code().name, error.details() or "", details)
        except OSError as error:  # the files of the certificates
            return Verdict(answer=Answer.RETRY, reason="tls", text=shortened(str(error)))
        except Exception as error:  # noqa: BLE001 -- the application has nothing to do with it
            return Verdict(answer=Answer.RETRY, reason="fault", text=shortened(repr(error)))
        return partial_success(reply, spans=spans)

    async def close(self) -> None:
        """Let go of the channel; the next attempt opens another."""
        channel, self._channel, self._call = self._channel, None, None
        self._files.close()
        if channel is not None:
            await channel.close()

    def forked(self) -> None:
        """Begin anew in a child process; the parent's channel is neither closed nor freed here."""
        self._leave()
        self._files.forked()

    def _leave(self) -> None:
        if self._channel is not None:
            self._left_behind.append(self._channel)
        self._channel, self._call = None, None

    async def _open(self) -> Callable[..., Any]:
        settings, grpc = self._settings, self._grpc
        target = f"{_bracketed(settings.url.hostname or '')}:{settings.port}"
        if settings.secure:
            roots, key, chain = await self._files.run(_read_all, settings)
            credentials = grpc.ssl_channel_credentials(roots, key, chain)
            channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
        else:
            channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        if self._call is not None:  # another attempt was quicker
            await channel.close()
            return self._call
        self._channel = channel
        call: Callable[..., Any] = channel.unary_unary(METHOD)
        self._call = call
        return call

    def __repr__(self) -> str:
        url = self._settings.url
        state = "closed" if self._channel is None else "open"
        return f"<GrpcTransport {url.scheme}://{url.hostname}:{self._settings.port} {state}>"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _read_all(settings: OtlpSettings) -> tuple[bytes | None, ...]:
    names = (settings.certificate, settings.client_key, settings.client_certificate)
    return tuple(None if name is None else Path(name).read_bytes() for name in names)
