import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from seawall.app.telemetry_files import Naming, dashboard_files, rule_files
from seawall.app.telemetry_files.estimate import SPAN_FIGURE
from seawall.cli import exits, main, telemetry_report
from seawall.telemetry.catalogue import EXPOSED
from tests.repo import tree


def invoke(*arguments: str):
    return CliRunner().invoke(main.app, ["telemetry", *arguments])


def test_the_reference_example_comes_out() -> None:
    answer = invoke("estimate")
    assert answer.exit_code == exits.OK
    assert "5,000 requests/s, 6 spans each, 1 kB per span" in answer.stdout
    (row,) = [line for line in answer.stdout.splitlines() if line.startswith("traces, all")]
    assert row.split()[-4:] == ["30", "MB", "2.59", "TB"]
    assert "of a core" in answer.stdout


def test_the_estimate_as_json() -> None:
    answer = invoke("estimate", "--json", "--ratio", "0.01", "--error-ratio", "0", "--slow-ratio", "0")
    told = json.loads(answer.stdout)
    assert told["load"]["ratio"] == 0.01
    assert told["estimate"]["trace_bytes_per_second"] == 30_000_000
    assert told["estimate"]["kept_bytes_per_day"] == pytest.approx(25.92e9)


def test_every_wrong_number_is_named() -> None:
    answer = invoke("estimate", "--ratio", "2", "--series", "-1")
    assert answer.exit_code == exits.USAGE
    assert answer.stdout == ""
    assert "ratio" in answer.stderr
    assert "series" in answer.stderr
    told = json.loads(invoke("estimate", "--ratio", "2", "--json").stdout)
    assert [problem["key"] for problem in told["problems"]] == ["ratio"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999.4, "999 B"), (999.6, "1 kB"), (30e6, "30 MB"), (2.592e12, "2.59 TB"), (3e15, "3 PB")],
)
def test_sizes_as_people_write_them(count, text) -> None:
    assert telemetry_report.size(count) == text


def test_every_metric_is_listed() -> None:
    rows = json.loads(invoke("metrics", "--json").stdout)
    assert [row["name"] for row in rows] == sorted(Naming().exposed(metric).name for metric in EXPOSED)
    answer = invoke("metrics", "--namespace", "acme")
    assert answer.exit_code == exits.OK
    for row in rows:
        assert row["name"].replace("seawall", "acme", 1) in answer.stdout
        assert row["help"] in answer.stdout


@pytest.mark.parametrize(("verb", "files"), [("rules", rule_files), ("dashboards", dashboard_files)])
def test_files_are_written_and_then_the_same(verb, files, tmp_path) -> None:
    out = ("--out", str(tmp_path), "--namespace", "acme")
    assert invoke(verb, *out, "--check").exit_code == exits.BROKEN
    assert list(tmp_path.iterdir()) == []
    answer = invoke(verb, *out, "--json")
    assert answer.exit_code == exits.OK
    assert {row["state"] for row in json.loads(answer.stdout)} == {"written"}
    expected = files(Naming(namespace="acme"))
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in expected} == expected
    answer = invoke(verb, *out, "--check")
    assert answer.exit_code == exits.OK
    assert all(line.startswith("same ") for line in answer.stdout.splitlines())
    changed = tmp_path / next(iter(expected))
    changed.write_text("other\n")
    answer = invoke(verb, *out, "--check")
    assert answer.exit_code == exits.BROKEN
    assert f"different {changed}" in answer.stdout
    assert changed.read_text() == "other\n"


@pytest.mark.parametrize("verb", ["rules", "dashboards"])
def test_the_committed_files_are_what_is_written_for_the_default_namespace(verb) -> None:
    answer = invoke(verb, "--out", str(tree.ROOT / "deploy"), "--check")
    assert answer.exit_code == exits.OK, answer.stdout


def test_a_wrong_namespace_or_place_is_told(tmp_path) -> None:
    answer = invoke("rules", "--namespace", "a-b", "--out", str(tmp_path))
    assert answer.exit_code == exits.USAGE
    assert "namespace" in answer.stderr
    assert invoke("rules", "--state-numbering", "x", "--out", str(tmp_path)).exit_code == exits.USAGE
    (tmp_path / "file").write_text("")
    answer = invoke("dashboards", "--out", str(tmp_path / "file"))
    assert answer.exit_code == exits.BROKEN
    assert "file" in answer.stderr


def test_nothing_of_the_extra_is_needed() -> None:
    program = (
        "import sys\n"
        "for name in ('h11', 'msgspec', 'opentelemetry', 'orjson', 'starlette', 'structlog', 'uvicorn'):\n"
        "    sys.modules[name] = None\n"
        "from seawall.cli.main import app\n"
        "app(['telemetry', *sys.argv[1:]])"
    )
    for arguments in (["metrics"], ["estimate"], ["rules", "--check"], ["dashboards", "--check"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tree.ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == exits.OK, done.stderr


def test_the_cost_of_a_span_may_come_from_a_benchmark(tmp_path) -> None:
    record = tmp_path / "telemetry.json"
    record.write_text(json.dumps({"figures": [{"figure": SPAN_FIGURE, "value": 500.0, "unit": "ns"}]}))
    answer = invoke("estimate", "--results", str(record), "--json")
    assert json.loads(answer.stdout)["load"]["span_us"] == 0.5
    record.write_text("[]")
    assert invoke("estimate", "--results", str(record)).exit_code == exits.USAGE
    answer = invoke("estimate", "--results", str(tmp_path / "none"))
    assert answer.exit_code == exits.USAGE
    assert "results" in answer.stderr
