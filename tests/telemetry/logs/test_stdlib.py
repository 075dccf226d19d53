"""Records of the standard library come out in the same lines, and loud loggers are tamed."""

import asyncio
import io
import logging
import logging.config
import sys

import pytest
import uvicorn.config

from seawall.telemetry.logs.stdlib import TAMED, Bridge
from tests.telemetry.logs.lines import PLANTED, logging_to


@pytest.fixture(autouse=True)
def _uvicorns_loggers():
    yield
    for name in TAMED:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate, logger.level = [], True, logging.NOTSET


def test_a_record_has_the_same_schema(tmp_path):
    with logging_to(tmp_path / "log", context_keys={"state"}) as (_, lines):
        logger = logging.getLogger("third.party")
        logger.warning("user %s has %d", PLANTED, 4711, extra={"state": "open", "user": PLANTED})
        logger.debug("not said")
        (line,) = lines()
    assert line["message"] == f"user <str {len(PLANTED)}> has <int>"
    assert line["level"] == "WARNING"
    assert line["context"] == {"logger": "third.party", "state": "open", "user": f"<str {len(PLANTED)}>"}


def test_arguments_of_declared_loggers_are_shown_masked(tmp_path):
    with logging_to(tmp_path / "log", argument_loggers=["third"]) as (_, lines):
        logging.getLogger("third.party").warning("at %s", f"postgres://a:{PLANTED}@h/db")
        assert lines()[0]["message"] == "at postgres://***@h/db"


def test_exceptions_are_described(tmp_path):
    with logging_to(tmp_path / "log") as (_, lines):
        try:
            raise KeyError(PLANTED)
        except KeyError:
            logging.getLogger("third").exception("failed")
        (line,) = lines()
    assert line["exception"]["type"] == "KeyError"
    assert PLANTED not in str(line)


def test_records_that_cannot_be_read_are_counted_and_raise_nothing(tmp_path):
    with logging_to(tmp_path / "log") as (handle, _lines):
        root = logging.getLogger()
        (bridge,) = [each for each in root.handlers if isinstance(each, Bridge)]
        bridge.emit(object())
        assert handle.statistics().errors == 1


def test_a_filter_can_drop_or_replace_a_record(tmp_path):
    with logging_to(tmp_path / "log") as (_, lines):
        (bridge,) = [each for each in logging.getLogger().handlers if isinstance(each, Bridge)]
        bridge.addFilter(lambda record: record.msg != "drop")
        logging.getLogger("third").warning("drop")
        logging.getLogger("third").warning("keep")
        assert [line["message"] for line in lines()] == ["keep"]


def test_everything_is_put_back(tmp_path):
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    console = logging.StreamHandler(sys.stderr)
    elsewhere = logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    root.handlers += [console, elsewhere]
    names = ["", "third", "untouched.before", *TAMED]
    try:

        def state():
            loggers = [logging.getLogger(name) for name in names]
            return [(each.level, each.propagate, each.handlers[:], each.disabled) for each in loggers]

        before = state()
        with logging_to(tmp_path / "log", levels={"third": "DEBUG"}) as (handle, _):
            handle.set_level("third", "ERROR")
            handle.set_level("untouched.before", "ERROR")
            handle.set_level("root", "ERROR")
            assert logging.getLogger("third").level == logging.ERROR
            assert console not in root.handlers
            assert elsewhere in root.handlers
            assert state() != before
        assert state() == before
    finally:
        root.handlers.remove(console)
        root.handlers.remove(elsewhere)


def test_uvicorn_is_tamed(tmp_path, capfd):
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    access = ("127.0.0.1:5", "GET", f"/x?token={PLANTED}", "1.1", 200)
    with logging_to(tmp_path / "log", levels={"uvicorn.access": "INFO"}) as (handle, lines):
        logging.getLogger("uvicorn.error").info(
            "Started server process [%d]", 7, extra={"color_message": "Started \x1b[36m%d\x1b[0m"}
        )
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *access)
        handle.set_level("uvicorn.access", "WARNING")
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *access)
        started, request = lines()
    assert started["message"] == "Started server process [7]"
    assert started["context"] == {"logger": "uvicorn.error"}
    assert request["message"] == "request"
    assert request["context"]["method"] == "GET"
    assert request["context"]["status"] == 200
    assert PLANTED not in str(request)
    assert capfd.readouterr() == ("", "")


def test_uvicorns_requests_are_not_said_by_default(tmp_path):
    with logging_to(tmp_path / "log") as (_, lines):
        logging.getLogger("uvicorn.access").info("x")
        logging.getLogger("asyncio").info("x")
        assert lines() == []


def test_asyncio_says_its_first_line(tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.set_exception(ValueError(PLANTED))
        error = future.exception()
        loop.call_exception_handler({"message": "never retrieved", "exception": error, "future": future})

    with logging_to(tmp_path / "log") as (_, lines):
        asyncio.run(main())
        (line,) = lines()
    assert line["message"] == "never retrieved"
    assert line["exception"]["type"] == "ValueError"
    assert PLANTED not in str(line)
