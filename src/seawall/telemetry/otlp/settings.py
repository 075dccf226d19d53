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
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from seawall._version import __version__
from seawall.kernel.errors import PolicyError, Problem

__all__ = ["TEXT_LIMIT", "USER_AGENT", "OtlpSettings", "from_environment"]

TEXT_LIMIT: Final = 200
"""Characters of a complaint that are kept."""

USER_AGENT: Final = f"OTel-OTLP-Exporter-Python-Seawall/{__version__}"

DURATION_LIMIT_S: Final = 3_600.0
"""Sockets and locks take no infinity, and an hour is long for all of these."""

PROTOCOLS: Final = ("grpc", "http/protobuf")
COMPRESSIONS: Final = ("none", "gzip")

_NAME: Final = re.compile(r"[0-9A-Za-z_.-]+\Z")
_VALUE: Final = re.compile(r"[\x20-\x7e]*\Z")
_OURS: Final = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection"}
)
_HIDDEN: Final = "<not shown>"
_SECRET_CHARACTERS: Final = 4
"""What is shorter guards nothing, and to hide it would riddle every text with holes."""
_DEFAULT_ENDPOINTS: Final = {
    "grpc": "http://localhost:4317",
    "http/protobuf": "http://localhost:4318/v1/traces",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSettings:
    """Where spans go, and what may be spent on them.

    Attributes:
        endpoint: The URL that spans are posted to, path and all; for gRPC scheme, host and port. If empty, a
            collector on this machine, at the protocol's own port. No user and no query: what is secret
            belongs into ``headers``.
        protocol: ``"http/protobuf"`` or ``"grpc"`` (needs grpcio).
        headers: Sent with every request; their values are never shown.
        compression: ``"gzip"`` or ``"none"``.
        timeout_s: One attempt takes no longer.
        certificate: File of the authorities that may sign the collector's certificate, instead of the
            system's.
        client_certificate: File of our own certificate, for mutual TLS.
        client_key: File of its key.
        batch_spans: A request holds no more spans; so many waiting spans are sent at once.
        batch_delay_s: No span waits longer for others.
        request_bytes: A request is no longer, before compression. Collectors take 4 MiB by gRPC.
        poll_s: How often the lane is looked at; it has to hold what comes meanwhile.
        retry_base_s: The first wait after a failure is about this long; it doubles with every further one.
        retry_max_s: The longest such wait.
        retry_elapsed_s: A request that is older than this is dropped when it fails.
        masked: Mask what looks like a secret or a literal in texts of spans that may quote values.

    Raises:
        PolicyError: Values are out of range; all are named at once.
    """

    endpoint: str = ""
    protocol: Literal["grpc", "http/protobuf"] = "http/protobuf"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    compression: Literal["none", "gzip"] = "gzip"
    timeout_s: float = 10.0
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    batch_spans: int = 2_048
    batch_delay_s: float = 5.0
    request_bytes: int = 3 * 1024 * 1024
    poll_s: float = 0.25
    retry_base_s: float = 1.0
    retry_max_s: float = 30.0
    retry_elapsed_s: float = 60.0
    masked: bool = True

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise PolicyError(problems, "OTLP exporter")

    @property
    def url(self) -> SplitResult:
        """The endpoint, or the protocol's own one, taken apart."""
        return urlsplit(self.endpoint or _DEFAULT_ENDPOINTS.get(self.protocol, ""))

    @property
    def secure(self) -> bool:
        """Whether the collector is spoken to by TLS."""
        return self.url.scheme == "https"

    @property
    def port(self) -> int:
        """The endpoint's port, or that of its scheme and protocol."""
        return self.url.port or (443 if self.secure else 4317 if self.protocol == "grpc" else 80)

    def presentable(self, text: str) -> str:
        """A stranger's text on one line, of bounded length, and without our secrets.

        A collector, or whatever stands before it, may repeat in its complaint what it was sent.
        """
        for _, value in self.headers:
            for secret in (value, *value.split()):
                if len(secret) >= _SECRET_CHARACTERS:
                    text = text.replace(secret, _HIDDEN)
        line = "".join(each if each.isprintable() else " " for each in text[: TEXT_LIMIT + 1])
        return line if len(line) <= TEXT_LIMIT else f"{line[:TEXT_LIMIT]}…"


_COUNTS: Final = {"batch_spans": 1, "request_bytes": 1_024}
_DURATIONS: Final = ("timeout_s", "batch_delay_s", "poll_s", "retry_base_s", "retry_max_s", "retry_elapsed_s")


def _problems(settings: OtlpSettings) -> list[Problem]:
    found = _endpoint_problems(settings)
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
            isinstance(seconds, int | float) and 0.0 < seconds <= DURATION_LIMIT_S
        ):
            found.append(Problem(name, seconds, f"seconds above 0, up to {DURATION_LIMIT_S:g}"))
    return found


def _endpoint_problems(settings: OtlpSettings) -> list[Problem]:
    allowed = "a URL such as https://collector:4318/v1/traces"
    try:
        url = settings.url
        port = url.port
    except ValueError:
        return [Problem("endpoint", _HIDDEN, allowed)]
    if url.username is not None or url.query or url.fragment:
        # The text isn't repeated here: such parts are where secrets stand.
        return [Problem("endpoint", _HIDDEN, "a URL without user and query", "send credentials in headers")]
    if not settings.endpoint:
        return []
    good = url.scheme in {"http", "https"} and url.hostname and port != 0
    if not good or not re.fullmatch(r"[\x21-\x7e]+", settings.endpoint):
        return [Problem("endpoint", settings.endpoint, allowed, "write a foreign host in punycode")]
    return []


def _header_problems(settings: OtlpSettings) -> list[Problem]:
    found: list[Problem] = []
    for name, value in settings.headers:
        if not _NAME.match(name):
            # Nor is a bad name repeated: of "Authorization: secret" all is taken for the name.
            found.append(Problem("headers", _HIDDEN, "names of letters, digits, '-', '_' and '.'"))
        elif name.lower() in _OURS:
            found.append(Problem("headers", name, "headers that the exporter doesn't set itself"))
        elif settings.protocol == "grpc" and re.match(r"grpc-|.*-bin\Z", name.lower()):
            found.append(Problem("headers", name, "neither gRPC's own headers nor binary ones"))
        elif not _VALUE.match(value):
            found.append(Problem(f"headers[{name}]", _HIDDEN, "one line of ASCII"))
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
            value: Any = _endpoint(text, settings, environ, name) if key == "endpoint" else read(text)
            settings = replace(settings, **{key: value})
        except (PolicyError, ValueError) as error:
            allowed = error.problems[0].allowed if isinstance(error, PolicyError) else str(error)
            secret = key == "headers" or (key == "endpoint" and re.search("[@?#]", text))
            problems.append(Problem(name, _HIDDEN if secret else text, allowed))
    return settings, tuple(problems)


def _lookup(environ: Mapping[str, str], suffix: str) -> tuple[str, str | None]:
    for prefix in ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"):
        if text := environ.get(prefix + suffix, "").strip():
            return prefix + suffix, text
    return suffix, None


def _endpoint(text: str, settings: OtlpSettings, environ: Mapping[str, str], name: str) -> str:
    if settings.protocol != "grpc":
        return text if "_TRACES_" in name else f"{text.rstrip('/')}/v1/traces"
    if "://" in text:
        return text
    # Only a target without a scheme leaves the choice open, and safe is the default.
    _, insecure = _lookup(environ, "INSECURE")
    return f"{'http' if insecure is not None and insecure.lower() == 'true' else 'https'}://{text}"


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
        return int(text) / 1_000.0
    except (ValueError, OverflowError):
        raise ValueError("a whole number of milliseconds") from None


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
