"""How spans are exported: one frozen record, and the reading of OpenTelemetry's environment variables.

Pure: the environment is a mapping that is passed in. The variables and their meaning are those of the
OpenTelemetry specification ("OpenTelemetry Protocol Exporter"): the one for traces wins over the general one;
the general endpoint is a base to which ``v1/traces`` is added, the one for traces is taken as it is; times
are in milliseconds. As the specification wants, a variable that makes no sense is left out and reported,
while a wrong value in code is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from seawall.kernel.errors import PolicyError, Problem

__all__ = ["Compression", "OtlpSettings", "Protocol", "from_environment"]

Protocol = Literal["grpc", "http/protobuf", "http/json"]
Compression = Literal["auto", "none", "gzip"]

PROTOCOLS: Final[tuple[Protocol, ...]] = ("grpc", "http/protobuf", "http/json")
COMPRESSIONS: Final[tuple[Compression, ...]] = ("auto", "none", "gzip")

GRPC_GZIP_BYTES: Final = 32 * 1024
"""gRPC compresses in the thread of its caller, which is the loop's: more would hold it for a millisecond."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_OURS: Final = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection"}
)
_HIDDEN: Final = "<not shown>"
_SCHEMES: Final = frozenset({"http", "https"})
_DEFAULT_ENDPOINTS: Final[dict[str, str]] = {"grpc": "http://localhost:4317"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSettings:
    """Where spans go, and what may be spent on them. Every limit has a counter in the exporter's statistics.

    Attributes:
        endpoint: The URL that spans are posted to, path and all; for gRPC scheme, host and port. If empty, a
            collector on this machine, at the protocol's own port.
        protocol: ``"http/protobuf"``, ``"http/json"`` or ``"grpc"`` (needs grpcio).
        headers: Sent with every request; their values are never shown.
        compression: ``"gzip"``, ``"none"`` or ``"auto"``: gzip by HTTP, where it runs beside the loop, none
            by gRPC,
            where it can't; gzip by gRPC means small requests.
        timeout_s: One attempt takes no longer, connecting included.
        certificate: File of the authorities that may sign the collector's certificate, instead of the
            system's.
        client_certificate: File of our own certificate, for mutual TLS.
        client_key: File of its key.
        batch_spans: A request holds no more spans; so many waiting spans are sent at once.
        batch_delay_s: No span waits longer for others.
        request_bytes: A request is no longer, before compression. Collectors take 4 MiB by gRPC.
        buffer_requests: Requests that wait or are being sent. Beyond that nothing is taken from the lane.
        buffer_bytes: The same in bytes, after compression; the last batch may exceed it.
        in_flight: Requests sent at the same time.
        poll_s: How often the lane is looked at.
        retry_base_s: The first wait after a failure is about this long; it doubles with every further one.
        retry_max_s: The longest such wait.
        retry_elapsed_s: A request that is older than this is dropped when it fails.

    Raises:
        PolicyError: Values are out of range; all are named at once.
    """

    endpoint: str = ""
    protocol: Protocol = "http/protobuf"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    compression: Compression = "auto"
    timeout_s: float = 10.0
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    batch_spans: int = 2_048
    batch_delay_s: float = 5.0
    request_bytes: int = 3 * 1024 * 1024
    buffer_requests: int = 32
    buffer_bytes: int = 16 * 1024 * 1024
    in_flight: int = 2
    poll_s: float = 0.1
    retry_base_s: float = 1.0
    retry_max_s: float = 30.0
    retry_elapsed_s: float = 60.0

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise PolicyError(problems, "OTLP exporter")

    @property
    def url(self) -> SplitResult:
        """The endpoint, or the protocol's own one, taken apart."""
        return urlsplit(
            self.endpoint or _DEFAULT_ENDPOINTS.get(self.protocol, "http://localhost:4318/v1/traces")
        )

    @property
    def secure(self) -> bool:
        """Whether the collector is spoken to by TLS."""
        return self.url.scheme == "https"

    @property
    def port(self) -> int:
        """The endpoint's port, or that of its scheme and protocol."""
        url = self.url
        if url.port is not None:
            return url.port
        if self.protocol == "grpc":
            return 4317
        return 443 if url.scheme == "https" else 80

    @property
    def gzip(self) -> bool:
        """Whether requests are compressed."""
        return self.compression == "gzip" or (self.compression == "auto" and self.protocol != "grpc")

    @property
    def encoded_bytes(self) -> int:
        """What ``request_bytes`` comes to, given what compression costs."""
        return (
            min(self.request_bytes, GRPC_GZIP_BYTES)
            if self.gzip and self.protocol == "grpc"
            else self.request_bytes
        )


def _problems(settings: OtlpSettings) -> list[Problem]:
    found: list[Problem] = []
    found += _endpoint_problems(settings)
    if settings.protocol not in PROTOCOLS:
        found.append(Problem("protocol", settings.protocol, ", ".join(PROTOCOLS)))
    if settings.compression not in COMPRESSIONS:
        found.append(Problem("compression", settings.compression, ", ".join(COMPRESSIONS)))
    found += _header_problems(settings)
    if settings.client_key and not settings.client_certificate:
        found.append(Problem("client_key", settings.client_key, "a key together with client_certificate"))
    for name, least in _COUNTS.items():
        number = getattr(settings, name)
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            found.append(Problem(name, number, f"a whole number from {least}"))
    for name in _DURATIONS:
        seconds = getattr(settings, name)
        if isinstance(seconds, bool) or not (
            isinstance(seconds, int | float) and isfinite(seconds) and seconds > 0
        ):
            found.append(Problem(name, seconds, "seconds above 0"))
    return found


_COUNTS: Final = {
    "batch_spans": 1,
    "request_bytes": 1_024,
    "buffer_requests": 1,
    "buffer_bytes": 1_024,
    "in_flight": 1,
}
_DURATIONS: Final = ("timeout_s", "batch_delay_s", "poll_s", "retry_base_s", "retry_max_s", "retry_elapsed_s")


def _endpoint_problems(settings: OtlpSettings) -> list[Problem]:
    allowed = "a URL such as https://collector:4318/v1/traces"
    try:
        url = settings.url
        port = url.port
    except ValueError:
        return [Problem("endpoint", _HIDDEN, allowed)]
    if url.username is not None or url.password is not None:
        # The text isn't repeated here: what stands before the @ is a secret.
        return [Problem("endpoint", _HIDDEN, "a URL without a user", "send credentials in headers")]
    if (
        url.scheme not in _SCHEMES
        or not url.hostname
        or port == 0
        or re.search(r"[\x00-\x20\x7f]", settings.endpoint)
    ):
        return [Problem("endpoint", settings.endpoint, allowed)]
    if not settings.endpoint.isascii():
        return [Problem("endpoint", settings.endpoint, "ASCII only", "write the host in punycode")]
    return []


def _header_problems(settings: OtlpSettings) -> list[Problem]:
    found: list[Problem] = []
    for name, value in settings.headers:
        if not _TOKEN.match(name):
            found.append(Problem("headers", name, "names of letters, digits and hyphens"))
        elif name.lower() in _OURS:
            found.append(Problem("headers", name, "headers that the exporter doesn't set itself"))
        elif not _VALUE.match(value):
            found.append(Problem(f"headers[{name}]", _HIDDEN, "one line of Latin-1"))
    return found


def from_environment(
    environ: Mapping[str, str], base: OtlpSettings | None = None
) -> tuple[OtlpSettings, tuple[Problem, ...]]:
    """Read the variables ``OTEL_EXPORTER_OTLP_TRACES_*`` and ``OTEL_EXPORTER_OTLP_*``.

    Args:
        environ: Such as ``os.environ``. An empty value counts as none.
        base: What holds where no variable says anything.

    Returns:
        The settings, and the variables that were left out because they make no sense.
    """
    settings = base or OtlpSettings()
    problems: list[Problem] = []
    for suffix, key, read in _VARIABLES:
        name, text = _lookup(environ, suffix)
        if text is None:
            continue
        try:
            changes = {key: read(text)}
            if key == "endpoint":
                changes = {key: _endpoint(text, settings.protocol, environ, exact="_TRACES_" in name)}
            settings = replace(settings, **changes)
        except (PolicyError, ValueError) as error:
            problems.append(_problem(name, text, error))
    return settings, tuple(problems)


def _lookup(environ: Mapping[str, str], suffix: str) -> tuple[str, str | None]:
    for prefix in ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"):
        if text := environ.get(prefix + suffix, "").strip():
            return prefix + suffix, text
    return suffix, None


def _problem(name: str, text: str, error: Exception) -> Problem:
    allowed = error.problems[0].allowed if isinstance(error, PolicyError) else str(error)
    secret = name.endswith("_HEADERS") or "@" in text
    return Problem(name, _HIDDEN if secret else text, allowed)


def _endpoint(text: str, protocol: Protocol, environ: Mapping[str, str], *, exact: bool) -> str:
    if protocol == "grpc":
        if "://" in text:
            return text
        # Only a target without a scheme leaves the choice open, and safe is the default.
        _, insecure = _lookup(environ, "INSECURE")
        return f"{'http' if insecure is not None and insecure.lower() == 'true' else 'https'}://{text}"
    return text if exact else f"{text.rstrip('/')}/v1/traces"


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """``key=value`` pairs as in W3C Baggage, percent-encoded; a later one of the same name wins."""
    found: dict[str, str] = {}
    for member in text.split(","):
        if not member.strip():
            continue
        name, equals, value = member.partition("=")
        if not equals:
            raise ValueError("name=value pairs with commas between them")
        found[unquote(name.strip()).lower()] = unquote(value.strip())
    return tuple(found.items())


def _milliseconds(text: str) -> float:
    try:
        milliseconds = int(text)
    except ValueError:
        raise ValueError("a whole number of milliseconds") from None
    return milliseconds / 1_000.0


_VARIABLES: Final[tuple[tuple[str, str, Callable[[str], Any]], ...]] = (
    ("PROTOCOL", "protocol", str.lower),  # first: it decides how the endpoint is read
    ("ENDPOINT", "endpoint", str),
    ("HEADERS", "headers", _headers),
    ("COMPRESSION", "compression", str.lower),
    ("TIMEOUT", "timeout_s", _milliseconds),
    ("CERTIFICATE", "certificate", str),
    ("CLIENT_CERTIFICATE", "client_certificate", str),  # before its key, which is nothing without it
    ("CLIENT_KEY", "client_key", str),
)

_KEYS: Final = frozenset(each.name for each in fields(OtlpSettings))
assert all(key in _KEYS for _, key, _ in _VARIABLES)
