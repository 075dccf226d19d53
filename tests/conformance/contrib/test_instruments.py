"""The plugin puts our provider where the SDK's was, and the judgement sees what differs."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import ROOT
from tests.conformance.contrib import suites
from tests.conformance.contrib.__main__ import REASONS, judge
from tests.conformance.peers import reasons
from tests.conformance.peers.outcomes import FAILED, PASSED, SKIPPED, UNSTEADY, Comparison, from_junit

SUITE = """
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.test.test_base import TestBase
from opentelemetry import trace


class TestWhose(TestBase):
    def test_spans_arrive(self):
        trace.get_tracer("suite").start_span("one").end()
        assert [span.name for span in self.get_finished_spans()] == ["one"]

    def test_only_the_sdk(self):
        assert isinstance(trace.get_tracer_provider(), TracerProvider)

    def test_only_ours(self):
        assert type(get_global_textmap()).__module__.startswith("seawall.")

    def test_a_share_of_the_traces(self):
        provider, exporter = self.create_tracer_provider(sampler=ParentBased(TraceIdRatioBased(0.0)))
        provider.get_tracer("suite").start_span("one").end()
        assert not exporter.get_finished_spans()

    def test_a_sampler_that_we_have_no_words_for(self):
        self.create_tracer_provider(sampler=ALWAYS_ON)
"""


def outcomes_of(folder: Path, *plugin: str) -> tuple[dict[str, str], str]:
    (folder / "test_suite.py").write_text(SUITE)
    report = folder / "report.xml"
    options = ("-q", "-c", "none.ini", *plugin, f"--junitxml={report}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_suite.py"],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{suites.HERE}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return {name.partition("::")[2]: said for name, said in from_junit(report).items()}, done.stdout


def test_the_plugin_is_seen_by_every_test_that_looks(tmp_path):
    (tmp_path / "none.ini").write_text("[pytest]\n")
    direct, _ = outcomes_of(tmp_path)
    through, printed = outcomes_of(tmp_path, "-p", "light_provider")
    found = Comparison(direct, through)
    assert found.new_failures() == ["test_a_sampler_that_we_have_no_words_for", "test_only_the_sdk"]
    assert [name for name, said in found.direct.items() if said == FAILED] == ["test_only_ours"]
    counted = suites.COUNTED.search(printed)
    assert counted is not None
    assert counted.groups() == ("2", "0")


def test_a_suite_that_went_past_the_plugin_counts_nothing(tmp_path):
    (tmp_path / "none.ini").write_text("[pytest]\n")
    _, printed = outcomes_of(tmp_path)
    assert suites.COUNTED.search(printed) is None


@pytest.mark.parametrize(
    ("through", "unseen", "good"),
    [
        ({"a": PASSED, "b": FAILED}, 0, True),
        ({"a": UNSTEADY, "b": FAILED}, 0, True),
        ({"a": PASSED, "b": PASSED}, 0, True),
        ({"a": FAILED, "b": FAILED}, 0, False),
        ({"b": FAILED}, 0, False),
        ({"a": SKIPPED, "b": FAILED}, 0, False),
        ({"a": PASSED, "b": FAILED}, 1, False),
    ],
)
def test_what_is_within_the_limits(through, unseen, good):
    assert judge(Comparison({"a": PASSED, "b": FAILED}, through), unseen) is good


def test_more_unsteady_tests_than_chance_makes_are_beyond_them():
    names = ("a", "b", "c")
    assert not judge(Comparison(dict.fromkeys(names, PASSED), dict.fromkeys(names, UNSTEADY)), 0)


def test_a_failure_with_a_reason_is_within_them():
    (first, *_) = reasons.load(REASONS)
    (name, *_) = sorted(first.tests)
    assert judge(Comparison({name: PASSED}, {name: FAILED}), 0)
    assert {reason.suite for reason in reasons.load(REASONS)} == {"contrib"}
    assert all(
        test.partition(":")[0] in suites.PACKAGES for reason in reasons.load(REASONS) for test in reason.tests
    )
