"""Every rule names what there is, every alert has a story and a page, and promtool agrees."""

import re
import shutil
import subprocess

import pytest
import yaml

from seawall.app.telemetry_files import Naming, rule_files
from seawall.app.telemetry_files.alerts import grew, rendered
from seawall.app.telemetry_files.rule_files import RUNBOOKS, rule_groups
from seawall.telemetry.catalogue import OWN, PROXY
from seawall.telemetry.metrics.metric import Kind, Metric
from tests.app.telemetry_files import promql
from tests.app.telemetry_files.rows import ROWS
from tests.repo import tree

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
NAMINGS = [Naming(), Naming(namespace="acme_shop", state_numbering="helios"), Naming(namespace="")]
ALERTS = [alert for group in rule_groups(Naming(), ROWS) for alert in group.alerts]
TEMPLATE = re.compile(r"\{\{([^}]*)\}\}")


def written(tmp_path, naming=NAMINGS[0], rows=ROWS):
    for name, text in rule_files(naming, rows).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return sorted(tmp_path.glob("prometheus/rules/*.yml")), sorted(tmp_path.glob("prometheus/tests/*.yml"))


def promtool(*arguments):
    done = subprocess.run(
        [str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming.namespace or "none")
def test_promtool_can_read_the_rules(naming, tmp_path) -> None:
    rules, _ = written(tmp_path, naming)
    assert len(rules) == 3
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", *rules).count("SUCCESS") == 3


@needs_promtool
def test_every_alert_fires_when_it_should_and_only_then(tmp_path) -> None:
    _, tests = written(tmp_path)
    assert promtool("test", "rules", *tests).count("SUCCESS") == 3


@needs_promtool
def test_the_other_numbering_of_states_works_too(tmp_path) -> None:
    _, tests = written(tmp_path, NAMINGS[1])
    promtool("test", "rules", tests[0])


@needs_promtool
def test_promtool_sees_an_alert_that_does_not_fire(tmp_path) -> None:
    rules, tests = written(tmp_path)
    rules[0].write_text(rules[0].read_text().replace("== 2", "== 3"))
    with pytest.raises(AssertionError, match="SeawallBreakerOpen fires"):
        promtool("test", "rules", tests[0])


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming.namespace or "none")
def test_every_expression_names_what_there_is(naming) -> None:
    names = promql.known(ROWS, naming)
    for group in rule_groups(naming, ROWS):
        recorded = {
            rule.record: promql.Known("gauge", promql.grouped(rule.expr)) for rule in group.recordings
        }
        for rule in (*group.recordings, *group.alerts):
            assert promql.faults(rule.expr, names | recorded) == [], rule


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_is_whole(alert) -> None:
    assert alert.quiet
    assert alert.severity in {"page", "ticket"}
    assert alert.summary.endswith(".")
    labels = dict(alert.fires.labels or {})
    for text in (alert.summary, alert.description):
        for template in TEMPLATE.findall(text):
            word = template.split()[0]
            assert word == "$value" or word.removeprefix("$labels.") in labels, template
        assert "{{" not in rendered(text, labels, alert.fires.shown)
    assert bool(alert.fires.shown) == ("$value" in alert.description)


def test_names_of_alerts_are_unique_and_each_has_a_part_of_the_page() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(names) == len(set(names))
    page = (tree.ROOT / "docs/how-to/answer-an-alert.md").read_text(encoding="utf-8")
    assert RUNBOOKS.endswith("/how-to/answer-an-alert.html")
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == names


def test_the_rules_of_breakers_are_there_if_breakers_are() -> None:
    assert {group.name for group in rule_groups(Naming(), (*PROXY, *OWN))} == {"proxy", "telemetry"}
    state_set = Metric(
        name="circuit_breaker_state",
        kind=Kind.STATE_SET,
        help="State.",
        labels=("name",),
        states=("a", "open"),
    )
    breakers = rule_groups(Naming(), (*PROXY, *OWN, state_set))[-1]
    assert [alert.name for alert in breakers.alerts] == ["SeawallBreakerOpen", "SeawallBreakerTripped"]
    assert 'state="open"' in breakers.alerts[0].expr


@needs_promtool
def test_the_rules_of_a_state_set_work_too(tmp_path) -> None:
    state_set = Metric(
        name="circuit_breaker_state",
        kind=Kind.STATE_SET,
        help="State.",
        labels=("name",),
        states=("a", "open"),
    )
    _, tests = written(tmp_path, rows=(*PROXY, *OWN, state_set))
    promtool("test", "rules", tests[0])


def test_the_files_are_yaml_with_one_group_each() -> None:
    for name, text in rule_files(Naming(), ROWS).items():
        content = yaml.safe_load(text)
        assert set(content) == (
            {"groups"} if "/rules/" in name else {"rule_files", "evaluation_interval", "tests"}
        )


def test_only_breakers_that_stay_open_wake_somebody() -> None:
    (page,) = [alert for alert in ALERTS if "Breaker" in alert.name and alert.severity == "page"]
    assert (page.name, page.hold) == ("SeawallBreakerOpen", "5m")


def test_growth_is_seen_from_the_first_sample_on() -> None:
    expected = "sum by (job) ( (x_total unless x_total offset 5m) or increase(x_total[5m]) ) > 0"
    assert " ".join(grew("job", "x_total", "5m").split()) == expected
