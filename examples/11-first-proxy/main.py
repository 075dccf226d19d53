"""PostgreSQL and the proxy in front of it: what follows a client, what holds it, who dies with whom."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row


@contextmanager
def seawall_up() -> Iterator[dict[str, Any]]:
    """Run ``seawall up``; what it prints with --json is how to connect."""
    program = [sys.executable, "-c", "from seawall.cli.main import main; main()"]
    options = ["up", "--json", "--replicas", "0", "--workers", "2", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*program, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def connect(url: str, name: str) -> psycopg.Connection[Any]:
    """A connection like any other."""
    return psycopg.connect(url, autocommit=True, application_name=name)


def show(url: str, what: str) -> list[dict[str, str]]:
    """Ask the proxy itself: it is one more database."""
    with psycopg.connect(url, dbname="seawall", autocommit=True, row_factory=dict_row) as console:
        return console.execute(f"SHOW {what}".encode()).fetchall()


with seawall_up() as up:
    url = up["dsn"]
    clients = [connect(url, f"client {number}") for number in range(20)]
    for client in clients:
        client.execute("SELECT 1")
    print(f"{len(clients)} clients share {len(show(url, 'SERVERS'))} server connections")

    # Each client has its own settings, whichever server connection it gets.
    clients[0].execute("SET work_mem = '17MB'")
    print("client 0 has work_mem", *clients[0].execute("SHOW work_mem").fetchone() or ())
    print("client 1 has work_mem", *clients[1].execute("SHOW work_mem").fetchone() or ())

    # What can't follow a client holds it to its server connection, and the proxy says so.
    clients[2].execute("LISTEN news")
    clients[3].execute("CREATE TEMP TABLE notes (line text)")
    for line in ("LISTEN is a pin", "and so is this table"):
        clients[2].execute("NOTIFY news")
        clients[3].execute("INSERT INTO notes VALUES (%s)", [line])
    for row in sorted(show(url, "CLIENTS"), key=lambda row: row["application_name"]):
        if row["session"] == "pinned":
            print(f"{row['application_name']} is pinned by: {row['pinned_by']}")

    # A worker dies. Its clients lose their connections, the others notice nothing, and it is replaced.
    theirs = {row["application_name"] for row in show(url, "CLIENTS") if row["worker"] == "0"}
    os.kill(up["worker_pids"][0], signal.SIGKILL)
    time.sleep(0.1)
    for number, client in enumerate(clients):
        try:
            client.execute("SELECT 1")
            survived = True
        except psycopg.OperationalError:
            survived = False
        assert survived != (f"client {number}" in theirs)
    print("a worker was killed; the other one's clients noticed nothing")

    again = [connect(url, f"client {number}") for number in range(20)]
    print("all are back:", all(client.execute("SELECT 1").fetchone() == (1,) for client in again))
    for client in clients + again:
        client.close()
