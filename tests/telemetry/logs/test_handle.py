"""A configuration from its beginning to its end, in this process and in others."""

import os
import signal
import subprocess
import sys

import pytest

from seawall.kernel.errors import PolicyError, UsageError
from seawall.telemetry.logs import LogSettings, configure, get_logger
from tests.telemetry.logs.lines import PLANTED, check, logging_to, read


def run(program, **pipes):
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=15, **pipes)


def test_importing_configures_nothing():
    program = (
        "import logging, sys, threading\n"
        "import seawall.telemetry.logs as logs, structlog\n"
        "logs.get_logger('x').critical('nobody hears this')\n"
        "assert not structlog.is_configured() and not logging.getLogger().handlers\n"
        "assert threading.active_count() == 1\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]\n"
    )
    done = run(program, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_was_logged_is_written_at_the_programs_end():
    program = (
        "from seawall.telemetry.logs import *\n"
        "configure(LogSettings(service='orders', batch_s=1))\n"
        "for n in range(300): get_logger('x').info(f'line {n}', count=n)\n"
    )
    done = run(program, capture_output=True)
    lines = [check(line + b"\n") for line in done.stderr.split(b"\n")[:-1]]
    assert done.returncode == 0
    assert [line["context"]["count"] for line in lines] == list(range(300))


@pytest.mark.parametrize("action", ["SIG_DFL", "SIG_IGN"])
def test_a_reader_that_goes_away_ends_no_program(action):
    reader, writer = os.pipe()
    os.close(reader)
    program = (
        "import signal\n"
        "from seawall.telemetry.logs import *\n"
        f"signal.signal(signal.SIGPIPE, signal.{action})\n"
        "handle = configure(LogSettings(service='orders'))\n"
        "get_logger('x').info('into the void')\n"
        "handle.flush()\n"
        "counts = handle.statistics()\n"
        "handle.close()\n"
        "print(counts.failed, counts.write_errors)\n"
    )
    done = run(program, stderr=writer, stdout=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"1 (('EPIPE', 1),)\n")


def test_a_reader_that_reads_nothing_keeps_no_program_from_ending():
    reader, writer = os.pipe()
    program = (
        "from seawall.telemetry.logs import *\n"
        "handle = configure(LogSettings(service='orders', close_timeout_s=0.1))\n"
        "for n in range(20_000): get_logger('x').info(f'line {n}')\n"
        "counts = handle.statistics()\n"
        "print(counts.offered, counts.offered == counts.accepted + counts.dropped, counts.dropped > 0)\n"
    )
    done = run(program, stderr=writer, stdout=subprocess.PIPE)
    os.close(writer)
    os.close(reader)
    assert (done.returncode, done.stdout) == (0, b"20000 True True\n")


def test_a_terminal_gets_columns_and_a_file_gets_json(tmp_path, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    master, terminal = os.openpty()
    try:
        with configure(LogSettings(service="orders", destination=terminal)) as handle:
            get_logger("shop").warning("low", count=3)
            assert handle.flush(10)
        shown = os.read(master, 65_536).decode()
        assert "\x1b[33mWARNING \x1b[0m" in shown
        assert "count\x1b[0m=3" in shown
        monkeypatch.setenv("NO_COLOR", "1")
        with configure(LogSettings(service="orders", destination=terminal)) as handle:
            get_logger("shop").warning("low", count=3)
            assert handle.flush(10)
        assert "\x1b" not in os.read(master, 65_536).decode()
    finally:
        os.close(master)
        os.close(terminal)
    with logging_to(tmp_path / "log", format="auto") as (_, lines):
        get_logger("shop").warning("low")
        assert lines()[0]["level"] == "WARNING"


def test_closing_the_stream_does_not_turn_the_logs_over_to_who_gets_its_number(tmp_path):
    reader, writer = os.pipe()
    with configure(LogSettings(service="orders", destination=writer)) as handle:
        with (tmp_path / "other").open("wb") as other:
            os.dup2(other.fileno(), writer)  # closes it, and gives its number to the file
            get_logger("x").info("said")
            assert handle.flush(10)
        os.close(writer)
    assert (tmp_path / "other").read_bytes() == b""
    assert check(os.read(reader, 65_536))["message"] == "said"
    os.close(reader)


def test_sighup_opens_the_file_again(tmp_path):
    path, moved = tmp_path / "log", tmp_path / "log.1"
    former = signal.getsignal(signal.SIGHUP)
    with logging_to(path) as (handle, lines):
        signal.signal(signal.SIGHUP, lambda *_: handle.reopen())
        try:
            get_logger("x").info("before")
            lines()
            path.rename(moved)
            signal.raise_signal(signal.SIGHUP)
            get_logger("x").info("after")
            assert [line["message"] for line in lines()] == ["after"]
        finally:
            signal.signal(signal.SIGHUP, former)
        assert [line["message"] for line in read(moved)] == ["before"]
        assert handle.statistics().reopened == 1


def test_secrets_of_the_configuration_are_in_no_line(tmp_path):
    with logging_to(tmp_path / "log", secrets=[PLANTED], context_keys={"state"}) as (handle, lines):
        get_logger(f"by.{PLANTED}").info(f"a {PLANTED}", state=PLANTED, **{PLANTED: 1})
        assert handle.protect("another-one", "x") == 1
        get_logger("x").info("and another-one")
        assert PLANTED not in str(lines())
        assert lines()[1]["message"] == "and ***"
        assert handle.statistics().masked == 3


def test_only_one_configuration_at_a_time(tmp_path):
    with logging_to(tmp_path / "log") as (handle, _):
        with pytest.raises(UsageError, match="configured already"):
            configure(LogSettings(service="second", destination=tmp_path / "second"))
        with pytest.raises(UsageError, match="loud"):
            handle.set_level("x", "loud")
    handle.close()
    with pytest.raises(UsageError, match="closed"):
        handle.set_level("x", "INFO")


@pytest.mark.parametrize("where", ["/nowhere/at/all/log", 987_654, "\0"])
def test_a_destination_that_cannot_be_opened_is_an_error_of_the_start(where):
    with pytest.raises(PolicyError, match="destination"):
        configure(LogSettings(service="orders", destination=where))
    with configure(LogSettings(service="orders", destination="/dev/null")):
        assert get_logger("x").is_enabled_for(20)


def test_statistics_balance(tmp_path):
    with logging_to(tmp_path / "log", message_chars=64) as (handle, lines):
        get_logger("x").info("x" * 1_000)
        get_logger("x").info("\udc80")
        lines()
        assert "open" in repr(handle)
    counts = handle.statistics()
    assert counts.offered == counts.accepted + counts.dropped == 2
    assert counts.accepted == counts.written + counts.failed + counts.queued
    assert (counts.truncated, counts.errors) == (1, 0)
    assert "closed" in repr(handle)


@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # since Python 3.12
def test_a_child_counts_from_zero(tmp_path):
    with logging_to(tmp_path / "log", secrets=[PLANTED]) as (handle, lines):
        get_logger("x").info(PLANTED)
        lines()
        child = os.fork()
        if child == 0:
            try:
                fresh = handle.statistics()
                get_logger("x").info("child")
                done = handle.flush(10)
                now = handle.statistics()
                os._exit(0 if done and (fresh.masked, fresh.offered, now.written) == (0, 0, 1) else 1)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [line["message"] for line in lines()] == ["***", "child"]
        assert handle.statistics().written == 1
