"""The login machines against real peers: PostgreSQL 15 as the server, libpq and asyncpg as clients."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psycopg
import pytest

from seawall.wire.pgwire import messages
from seawall.wire.pgwire.login import ClientLogin, LoginRefused
from seawall.wire.pgwire.passwords import (
    Md5Secret,
    PlainSecret,
    ScramSecret,
    md5_secret,
    parse_secret,
    scram_secret,
)
from seawall.wire.pgwire.scram import ScramKeys
from seawall.wire.pgwire.startup import (
    CancelRequested,
    SslRequested,
    StartupReader,
    parse_negotiate_protocol_version,
)
from tests.wire.line import Line, ServerError, log_in, serving

BINARIES = Path("/usr/lib/postgresql/15/bin")
PSQL = BINARIES / "psql"
PENCIL = PlainSecret("pencil")
SALT = b"0123456789abcdef"

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not (BINARIES / "postgres").exists(), reason=f"no PostgreSQL 15 in {BINARIES}"),
]

HBA = """
local all postgres trust
local all free trust
local all clear,clear_scram password
local all digest,digest_scram md5
local all all scram-sha-256
"""

# Verifiers of ours next to those that PostgreSQL makes itself.
ROLES = f"""
set password_encryption = 'scram-sha-256';
create role free login;
create role clear_scram login password 'pencil';
create role digest_scram login password 'pencil';
create role theirs login password 'pencil';
create role accented login password U&'I\\00ADX\\00AA';
create role emoji login password U&'\\+01F600\\00AA';
create role ours login password '{scram_secret("pencil", SALT, 5000)}';
set password_encryption = 'md5';
create role clear login password 'pencil';
create role digest login password 'pencil';
"""


def unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A PostgreSQL 15 that listens on a socket in that folder only."""
    data = folder / "data"
    subprocess.run(
        [
            *unprivileged(),
            BINARIES / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    (data / "pg_hba.conf").write_text(HBA)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": folder,
        "fsync": "off",
        "shared_buffers": "16MB",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        [*unprivileged(), BINARIES / "postgres", "-D", data, *options],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready to accept connections" in line:
                break
        assert process.poll() is None
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The folder of the cluster's socket."""
    # Not under pytest's own folder: only root may enter it, and a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="seawall-", dir="/var/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        with cluster(folder):
            with psycopg.connect(
                host=str(folder), user="postgres", dbname="postgres", autocommit=True
            ) as admin:
                admin.execute(ROLES)
            yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def connected(home: Path) -> Iterator[Line]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(home / ".s.PGSQL.5432"))
        yield Line(sock)


def login(user: str, password: str | ScramKeys | Md5Secret | None = "pencil") -> ClientLogin:
    return ClientLogin(user, password, nonce=os.urandom(18))


def who_am_i(
    home: Path, user: str, password: str | ScramKeys | Md5Secret | None = "pencil"
) -> ScramKeys | None:
    """Log in, ask the server who we are, and check that it agrees."""
    ours = login(user, password)
    with connected(home) as line:
        log_in(line, ours, {"user": user, "database": "postgres"})
        line.sock.sendall(messages.query("select current_user"))
        rows = [messages.parse_data_row(body) for kind, body in line.read_until(b"Z") if kind == b"D"]
        line.sock.sendall(messages.terminate())
    assert rows == [[user.encode()]]
    return ours.scram_keys


def stored_secret(home: Path, user: str) -> str:
    with psycopg.connect(host=str(home), user="postgres", dbname="postgres") as admin:
        row = admin.execute("select rolpassword from pg_authid where rolname = %s", [user]).fetchone()
    assert row is not None
    return str(row[0])


# --- we log in to PostgreSQL ---


@pytest.mark.parametrize(
    ("user", "by_scram"),
    [
        ("free", False),
        ("clear", False),
        ("clear_scram", False),
        ("digest", False),
        ("digest_scram", True),
        ("theirs", True),
        ("ours", True),
    ],
)
def test_we_log_in_by_each_method(home: Path, user: str, by_scram: bool) -> None:
    assert (who_am_i(home, user) is not None) is by_scram


@pytest.mark.parametrize(
    "user", ["clear", "clear_scram", "digest", "digest_scram", "theirs", "ours", "nobody_at_all"]
)
def test_a_wrong_password_is_refused_by_the_server_in_the_words_that_we_use(home: Path, user: str) -> None:
    with connected(home) as line, pytest.raises(ServerError) as refused:
        log_in(line, login(user, "Pencil"), {"user": user, "database": "postgres"})
    fields = refused.value.args[0]
    assert (fields["S"], fields["C"]) == ("FATAL", "28P01")
    assert fields["M"] == f'password authentication failed for user "{user}"'


@pytest.mark.parametrize(
    ("user", "password"),
    [("accented", "I\u00adX\u00aa"), ("accented", "IXa"), ("emoji", "\U0001f600\u00aa")],
)
def test_we_normalise_passwords_as_postgresql_does(home: Path, user: str, password: str) -> None:
    assert who_am_i(home, user, password) is not None


def test_what_is_not_normalised_stays_different(home: Path) -> None:
    # The emoji is younger than Unicode 3.2, so nothing in that password is mapped, on either side.
    with connected(home) as line, pytest.raises(ServerError):
        log_in(line, login("emoji", "\U0001f600a"), {"user": "emoji", "database": "postgres"})


def test_an_md5_secret_from_the_catalogue_logs_in(home: Path) -> None:
    secret = parse_secret(stored_secret(home, "digest"))
    assert isinstance(secret, Md5Secret)
    assert "md5" + secret.digest == md5_secret("digest", "pencil")
    assert who_am_i(home, "digest", secret) is None


def test_keys_of_one_login_serve_for_the_next(home: Path) -> None:
    keys = who_am_i(home, "theirs")
    assert who_am_i(home, "theirs", keys) == keys


def test_postgresqls_verifiers_are_ours(home: Path) -> None:
    text = stored_secret(home, "theirs")
    secret = parse_secret(text)
    assert isinstance(secret, ScramSecret)
    assert secret.matches(b"pencil")
    assert scram_secret("pencil", secret.salt, secret.iterations) == secret.text() == text


def test_a_server_that_wants_a_password_which_we_have_not(home: Path) -> None:
    with connected(home) as line, pytest.raises(LoginRefused, match='none is configured for user "theirs"'):
        log_in(line, login("theirs", None), {"user": "theirs", "database": "postgres"})


def test_postgresql_15_talks_us_down_to_3_0(home: Path) -> None:
    with connected(home) as line:
        said = dict(
            log_in(line, login("free"), {"user": "free", "database": "postgres", "_pq_.new": "1"}, minor=2)
        )
        line.sock.sendall(messages.terminate())
    assert parse_negotiate_protocol_version(said[b"v"]) == (0, ["_pq_.new"])
    pid, key = messages.parse_backend_key_data(said[b"K"])
    assert (pid > 0, len(key)) == (True, 4)


def test_a_cancel_request_of_ours_reaches_postgresql(home: Path) -> None:
    with connected(home) as line:
        said = dict(log_in(line, login("free"), {"user": "free", "database": "postgres"}))
        line.sock.sendall(messages.query("select pg_sleep(30)"))
        with connected(home) as other:
            other.sock.sendall(messages.cancel_request(*messages.parse_backend_key_data(said[b"K"])))
            assert other.sock.recv(1) == b""
        report = dict(line.read_until(b"Z"))[b"E"]
        line.sock.sendall(messages.terminate())
    assert messages.parse_fields(report)["C"] == "57014"


@pytest.mark.parametrize(
    ("packet", "sqlstate"),
    [
        (b"\0\0\0\x10\0\x04\0\0user\0x\0\0", "0A000"),
        (b"\0\0\0\x09\0\x03\0\0\0", "28000"),
        (b"\0\0\0\x0f\0\x03\0\0user\0x\0", "08P01"),
        (messages.startup_message({"user": "x", "replication": "perhaps"}), "22023"),
    ],
)
def test_our_refusals_of_startup_packets_are_postgresqls(home: Path, packet: bytes, sqlstate: str) -> None:
    with pytest.raises(messages.ProtocolViolation) as ours:
        StartupReader().feed(packet)
    with connected(home) as line:
        line.sock.sendall(packet)
        fields = messages.parse_fields(line.read()[1])
    assert fields["C"] == ours.value.sqlstate == sqlstate
    # PostgreSQL 15 ends at 3.0 where we end at 3.2.
    assert fields["M"].replace("3.0 to 3.0", "3.0 to 3.2") == str(ours.value)
    assert fields.get("H", "") == ours.value.hint


# --- clients log in to us ---

SECRETS = {
    "ann": PENCIL,
    "bob": PENCIL.md5("bob"),
    "eve": PENCIL.scram(SALT, 5000),
}
FITTING = [
    ("trust", "ann"),
    ("password", "ann"),
    ("password", "bob"),
    ("password", "eve"),
    ("md5", "ann"),
    ("md5", "bob"),
    ("md5", "eve"),
    ("scram-sha-256", "ann"),
    ("scram-sha-256", "eve"),
]


def psql(port: int, user: str, password: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            PSQL,
            "-X",
            "-w",
            "-At",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-U",
            user,
            "-d",
            "shop",
            "-c",
            "select 42",
        ],
        env={"PGPASSWORD": password, "PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@pytest.mark.parametrize(("method", "user"), FITTING)
def test_psql_logs_in_to_us(method: str, user: str) -> None:
    with serving(method, SECRETS) as server:
        answer = psql(server.port, user, "pencil")
    assert (answer.stdout, answer.stderr, answer.returncode) == ("42\n", "", 0)
    assert SslRequested() in server.events


@pytest.mark.parametrize(("method", "user"), FITTING)
def test_psycopg_logs_in_to_us(method: str, user: str) -> None:
    with (
        serving(method, SECRETS) as server,
        psycopg.connect(
            host="127.0.0.1", port=server.port, user=user, password="pencil", dbname="shop", autocommit=True
        ) as connection,
    ):
        assert connection.execute("select 42").fetchone() == (42,)


@pytest.mark.parametrize(("method", "user"), FITTING)
def test_asyncpg_logs_in_to_us(method: str, user: str) -> None:
    async def ask(port: int) -> str:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=port, user=user, password="pencil", database="shop"
        )
        try:
            return str(await connection.execute("select 42"))
        finally:
            await connection.close()

    with serving(method, SECRETS) as server:
        assert asyncio.run(ask(server.port)) == "SELECT 1"


@pytest.mark.parametrize("user", ["ann", "bob", "eve", "mallory"])
@pytest.mark.parametrize("method", ["password", "md5", "scram-sha-256"])
def test_a_wrong_password_is_refused_in_the_same_words_whoever_it_is(method: str, user: str) -> None:
    with serving(method, SECRETS) as server:
        answer = psql(server.port, user, "Pencil")
    assert answer.returncode == 2
    assert answer.stderr.endswith(f'FATAL:  password authentication failed for user "{user}"\n')
    assert [refusal.sqlstate for refusal in server.refusals] == ["28P01"]


@pytest.mark.parametrize(("version", "minor", "key_bytes"), [("3.0", 0, 4), ("3.2", 2, 32)])
def test_libpq_18_speaks_both_versions_and_cancels_in_both(version: str, minor: int, key_bytes: int) -> None:
    with (
        serving("scram-sha-256", SECRETS) as server,
        psycopg.connect(
            host="127.0.0.1",
            port=server.port,
            user="eve",
            password="pencil",
            dbname="shop",
            autocommit=True,
            max_protocol_version=version,
        ) as connection,
    ):
        assert connection.execute("select 42").fetchone() == (42,)
        connection.cancel_safe(timeout=20)
    assert server.minors == [minor]
    cancels = [event for event in server.events if isinstance(event, CancelRequested)]
    assert cancels == [CancelRequested(77, b"k" * key_bytes)]


# --- one after the other ---


def test_a_client_that_proved_itself_to_us_is_let_in_by_the_server_behind(home: Path) -> None:
    verifier = parse_secret(stored_secret(home, "theirs"))
    with serving("scram-sha-256", {"theirs": verifier}) as front:
        assert psql(front.port, "theirs", "pencil").stdout == "42\n"
    keys = front.logins[0].scram_keys
    assert keys is not None
    assert who_am_i(home, "theirs", keys) == keys
