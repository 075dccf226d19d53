"""Loggers before, during and after a configuration; with and without structlog's front door."""

import asyncio

import pytest
import structlog

from seawall.telemetry.logs import Logger, get_logger
from seawall.telemetry.logs.bound import CHANNELS_MAX, OTHER, Channels
from seawall.telemetry.logs.intake import Intake
from tests.telemetry.logs.lines import PLANTED, logging_to

METHODS = ["debug", "info", "warning", "error", "critical", "exception", "warn", "fatal", "msg"]


def said(lines):
    return [(line["level"], line["message"]) for line in lines]


def test_a_logger_made_before_the_configuration_follows_it(tmp_path):
    logger = get_logger("early")
    logger.error("nobody listens")
    with logging_to(tmp_path / "log") as (_, lines):
        logger.error("heard")
        assert said(lines()) == [("ERROR", "heard")]
    logger.error("nobody listens any more")
    with logging_to(tmp_path / "second") as (_, lines):
        assert lines() == []


@pytest.mark.parametrize("method", METHODS)
def test_below_the_threshold_nothing_is_made(tmp_path, monkeypatch, method):
    with logging_to(tmp_path / "log", level="OFF", bridge=False) as (handle, _lines):
        monkeypatch.setattr(Intake, "take", lambda *_: pytest.fail("the call went on"))
        getattr(get_logger("quiet"), method)("x", n=1)
        asyncio.run(get_logger("quiet").ainfo("x"))
        get_logger("quiet").log(50, "x")
        assert handle.statistics().offered == 0


def test_every_method_has_its_level(tmp_path):
    with logging_to(tmp_path / "log", level="DEBUG") as (_, lines):
        logger = get_logger("all")
        for method in METHODS:
            getattr(logger, method)(method)
        logger.log("warning", "log")
        logger.log(25, "log")
        logger.log("nonsense", "log")
        found = [line["level"] for line in lines()]
    assert found == [
        *("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "ERROR", "WARNING", "CRITICAL", "INFO"),
        *("WARNING", "INFO", "INFO"),
    ]


def test_coroutines_have_the_same(tmp_path):
    async def main():
        logger = get_logger("tasks")
        for method in ("adebug", "ainfo", "awarning", "aerror", "acritical", "aexception"):
            await getattr(logger, method)("x")
        for method in ("awarn", "afatal", "amsg"):
            await getattr(logger, method)("x")
        await logger.alog(30, "x")

    with logging_to(tmp_path / "log", level="DEBUG") as (_, lines):
        asyncio.run(main())
        found = [line["level"] for line in lines()]
    assert found == [
        "DEBUG",
        "INFO",
        "WARNING",
        "ERROR",
        "CRITICAL",
        "ERROR",
        "WARNING",
        "CRITICAL",
        "INFO",
        "WARNING",
    ]


def test_what_structlogs_own_loggers_offer_is_offered():
    theirs = structlog.make_filtering_bound_logger(0)
    offered = {name for name in dir(theirs) if not name.startswith("_")}
    assert {"info", "awarning", "msg"} < offered <= set(dir(Logger))


def test_thresholds_go_by_name_and_can_be_changed(tmp_path):
    with logging_to(tmp_path / "log", levels={"loud": "DEBUG", "loud.but": "ERROR"}) as (handle, lines):
        for name in ("loud.x", "loud.but.y", "other"):
            get_logger(name).debug(name)
        handle.set_level("other", "DEBUG")
        handle.set_level("root", "ERROR")
        get_logger("other.below").debug("now")
        get_logger("elsewhere").warning("no")
        assert not get_logger("elsewhere").is_enabled_for(30)
        assert get_logger("other").get_effective_level() == 10
        assert [line["message"] for line in lines()] == ["loud.x", "now"]


def test_bound_values_go_into_every_line(tmp_path):
    with logging_to(tmp_path / "log", context_keys={"n", "state"}) as (_, lines):
        logger = get_logger("bound", n=1)
        logger.bind(state="open").info("a", n=2)
        logger.unbind("n").info("b")
        logger.new(state="x").info("c")
        assert [line["context"] for line in lines()] == [
            {"logger": "bound", "n": 2, "state": "open"},
            {"logger": "bound"},
            {"logger": "bound", "state": "x"},
        ]


def test_structlog_gives_the_same_loggers(tmp_path):
    with logging_to(tmp_path / "log", context_keys={"request"}) as (_, lines):
        with structlog.contextvars.bound_contextvars(request="r-1"):
            structlog.get_logger("front.door").bind().info("in")
        structlog.get_logger().warning("nameless")
        assert isinstance(structlog.get_logger("front.door").bind(), Logger)
        found = lines()
    assert [line["context"] for line in found] == [
        {"logger": "front.door", "request": "r-1"},
        {"logger": "root"},
    ]
    assert not structlog.is_configured()


def test_an_earlier_configuration_of_structlog_comes_back(tmp_path):
    before = structlog.get_config()["processors"]
    structlog.configure(processors=before[:1])
    try:
        with logging_to(tmp_path / "log"):
            assert structlog.get_config()["processors"] == []
        assert structlog.get_config()["processors"] == before[:1]
    finally:
        structlog.reset_defaults()


def test_the_exception_that_is_handled_is_described(tmp_path):
    with logging_to(tmp_path / "log") as (_, lines):
        try:
            raise ValueError(PLANTED)
        except ValueError:
            get_logger("x").exception("failed")
        assert lines()[0]["exception"]["type"] == "ValueError"


def test_a_repr_shows_no_values():
    logger = get_logger("shown", password=PLANTED)
    assert repr(logger) == "<Logger shown keys=['password']>"


def test_names_made_of_data_end_in_one_logger():
    channels = Channels()
    for number in range(CHANNELS_MAX):
        channels.get(str(number))
    assert channels.get("one more").name == OTHER
    assert channels.get("5").name == "5"
