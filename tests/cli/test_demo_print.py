import io
from dataclasses import replace

from rich.console import Console

from seawall.cli.demo_print import print_report, rows
from seawall.cli.demo_report import Report, promises
from seawall.cli.demo_scenario import FAST, FULL
from tests.cli.test_demo_report import GOOD


def printed(report: Report) -> str:
    file = io.StringIO()
    print_report(report, FULL, Console(file=file, width=80, highlight=False))
    return file.getvalue()


def test_the_report_fits_a_small_terminal(full) -> None:
    text = printed(full[0].report())
    assert len(text.splitlines()) <= 22
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "4 of 4 promises kept" in text


def test_a_broken_promise_is_told() -> None:
    figures = replace(GOOD, detected_ms=None, closed_ms=None, reason="", loop_lag_ms=80.0)
    text = printed(Report("full", figures, promises(figures, "open")))
    assert "2 of 4 promises kept" in text
    assert "BROKEN" in text
    assert "80 ms late" in text


def test_each_ramp_is_told_in_its_terms() -> None:
    assert "fixed ramp of 3s" in dict(rows(GOOD, FAST))["all traffic again"]
    assert "(0 steps back)" in dict(rows(GOOD, FULL))["all traffic again"]
    assert "(1 step back)" in dict(rows(replace(GOOD, step_backs=1), FULL))["all traffic again"]
