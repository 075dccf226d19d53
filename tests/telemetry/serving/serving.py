"""A telemetry server over real sockets, for these tests."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from seawall.telemetry.serving import (
    Access,
    Binding,
    Check,
    Checks,
    Role,
    StatusApi,
    TelemetryServer,
    Token,
)

VIEWER = "viewer-token-0123456789"
OPERATOR = "operator-token-0123456789"
ADMIN = "admin-token-0123456789"
PAGE = b"# TYPE seawall_up gauge\nseawall_up 1\n"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
SECRET = "postgresql://app:hunter2@db.internal/orders"

TOKENS = (
    Token.of("vera", Role.VIEWER, VIEWER),
    Token.of("otto", Role.OPERATOR, OPERATOR),
    Token.of("ada", Role.ADMIN, ADMIN),
)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class Page:
    """A writer whose slices and headers a test chooses."""

    def __init__(self, slices=(PAGE,), **headers):
        self.slices = slices
        self.headers = headers
        self.asked = []

    def scrape(self, accept=None, accept_encoding=None):
        self.asked.append((accept, accept_encoding))
        names = {name.replace("_", "-"): value for name, value in self.headers.items()}
        return Written(tuple({"content-type": TEXT, **names}.items()), iter(self.slices))


class Waiting(Page):
    """A page that is not written before it is let go."""

    def __init__(self):
        super().__init__()
        self.going = False
        self.inside = 0

    def scrape(self, accept=None, accept_encoding=None):
        self.slices = self._pauses()
        return super().scrape(accept, accept_encoding)

    def _pauses(self):
        self.inside += 1
        while not self.going:
            yield b""
        yield PAGE

    async def entered(self, number=1):
        while self.inside < number:  # noqa: ASYNC110 -- it rings no bell
            await asyncio.sleep(0)


@dataclass(frozen=True)
class Written:
    """The answer to one scrape."""

    headers: tuple[tuple[str, str], ...]
    slices: Iterator[bytes]


@dataclass(frozen=True)
class Backend:
    """One server behind the proxy."""

    backend: str
    circuit_state: str
    error_rate: float = 0.0


@dataclass(frozen=True)
class Which:
    """Which backends."""

    backend: str
    limit: int = 10


@dataclass(frozen=True, kw_only=True)
class Force:
    """Force a breaker."""

    target: str
    mode: str
    for_s: float = 30.0


@dataclass(frozen=True)
class Done:
    """What was done."""

    by: str
    role: str
    target: str


def an_api():
    api = StatusApi()
    api.resource(
        "circuit-breaker/status",
        list[Backend],
        lambda: [Backend("primary-1", "closed")],
        aliases=("/circuit-breaker/status",),
        summary="All breakers",
    )
    api.order(
        "breakers/force",
        Force,
        lambda body, caller: Done(caller.name, caller.role.name, body.target),
        answer=Done,
    )
    return api


@asynccontextmanager
async def served(*, scraper=None, checks=None, api=None, access=None, limits=None, tls=None, **more):
    """A server on ports of the system's choice."""
    access = Access() if access is None else access
    server = TelemetryServer(
        scraper=Page() if scraper is None else scraper,
        checks=checks,
        api=an_api() if api is None else api,
        metrics=Binding(key="telemetry.metrics", port=0, access=access, tls=tls),
        status=Binding(key="telemetry.status", port=0, access=access, tls=tls),
        limits=limits,
        **{"grace_s": 1.0, **more},
    )
    async with server:
        yield server


def running(scenario, **options):
    """Run ``scenario(server, client)`` against a server; returns what it returns."""

    async def main():
        async with served(**options) as server, httpx.AsyncClient(trust_env=False) as client:
            return await scenario(server, client)

    return asyncio.run(main())


def checks_of(**calls):
    checks = Checks()
    for name, call in calls.items():
        checks.add(Check(name=name, call=call))
    return checks


@dataclass(frozen=True)
class Certificates:
    """An authority and what it signed."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def context(self, *, with_client=False):
        context = ssl.create_default_context(cafile=str(self.ca))
        if with_client:
            context.load_cert_chain(self.client, self.client_key)
        return context


def make_certificates(folder):
    """An authority, a certificate for 127.0.0.1 and one for a client; made by the openssl program."""
    program = shutil.which("openssl")
    assert program, "these tests need the openssl program: install the package openssl"

    def openssl(*arguments):
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *(
            "req",
            "-x509",
            *key,
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=authority",
            "-days",
            "2",
        ),
        *("-addext", "keyUsage=critical,keyCertSign"),
    )
    for name, extension in (
        ("server", "subjectAltName=IP:127.0.0.1"),
        ("client", "subjectAltName=DNS:client"),
    ):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"{extension}\nauthorityKeyIdentifier=keyid\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext"),
        )
    return Certificates(
        folder / "ca.pem",
        folder / "server.pem",
        folder / "server.key",
        folder / "client.pem",
        folder / "client.key",
    )
