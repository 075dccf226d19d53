"""What a worker process is given comes whole, from its parent, or it does not start."""

import asyncio
import io
import os
import pickle
import subprocess
import sys

import pytest

from seawall.proxy import process
from seawall.proxy.process import LENGTH_BYTES, Inheritance, WorkerProcess, inherit
from seawall.proxy.settings import Auth, Backend, ProxySettings, User
from seawall.proxy.supervisor import START


def inheritance():
    user = User(name="u", secret="hidden", server_secret="hidden")
    told = ProxySettings(backends=(Backend(name="one", host="one"),), auth=Auth(users={"u": user}))
    return Inheritance(
        settings=told,
        number=1,
        count=3,
        listening=(5, 6),
        control=7,
        block=8,
        directory="/somewhere",
        mock_key=b"hidden",
    )


def packed(value):
    data = pickle.dumps(value)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


class Piped(io.TextIOBase):
    """Standard input from a pipe with these bytes and nothing behind them."""

    def __init__(self, data):
        self.reader, writer = os.pipe()
        os.write(writer, data)
        os.close(writer)

    def fileno(self):
        return self.reader


@pytest.fixture
def standard_input(monkeypatch):
    opened = []

    def made(data):
        opened.append(Piped(data))
        monkeypatch.setattr(process.sys, "stdin", opened[-1])

    yield made
    for one in opened:
        os.close(one.reader)


def test_what_is_passed_on_arrives(standard_input):
    standard_input(packed(inheritance()))
    assert inherit() == inheritance()


@pytest.mark.parametrize("kept", [0, 3, LENGTH_BYTES, LENGTH_BYTES + 10])
def test_a_supervisor_that_ends_in_the_middle_is_noticed(standard_input, kept):
    standard_input(packed(inheritance())[:kept])
    with pytest.raises(EOFError, match="supervisor ended"):
        inherit()


def test_only_an_inheritance_is_one(standard_input):
    standard_input(packed({"number": 1}))
    with pytest.raises(TypeError, match="inherited dict"):
        inherit()


def test_a_worker_without_a_supervisor_ends_with_a_reason():
    done = subprocess.run(
        [sys.executable, "-c", START], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"seawall: the supervisor ended before")


def test_a_worker_whose_supervisor_ends_before_it_is_ready_stops(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(process.sys, "stdout", gone)
        worker = object.__new__(WorkerProcess)
        worker._now, worker._stop = asyncio.Event(), asyncio.Event()
        worker._report_ready()
    assert worker._now.is_set()
    assert worker._stop.is_set()


def test_secrets_are_not_in_what_is_printed():
    assert "hidden" in pickle.dumps(inheritance()).decode(errors="replace")
    assert "hidden" not in repr(inheritance())
