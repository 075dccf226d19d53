"""What takes log lines along knows the keys that they have, all of them and no others."""

import json
import re
from datetime import datetime

from seawall.telemetry.logs.schema import JsonLines, Limits
from seawall.telemetry.redaction.failures import Failures
from seawall.telemetry.redaction.masking import Masks
from tests.deploy.reading import sections, table

LIMITS = Limits(message_chars=200, value_chars=100, line_bytes=4_096)
TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


class Coded(Exception):
    """An error with a code, as drivers have them."""

    sqlstate = "57P01"


def raised(error: BaseException, *, by: BaseException | None = None) -> BaseException:
    try:
        if by is None:
            raise error
        raise error from by
    except BaseException as caught:
        return caught


def during(first: BaseException, second: BaseException) -> BaseException:
    try:
        try:
            raise first
        except BaseException:
            raise second  # noqa: B904  # without "from", which is the point
    except BaseException as caught:
        return caught


ERRORS = [
    raised(Coded("x"), by=ValueError("y")),
    during(ValueError("x"), KeyError("y")),
    raised(ExceptionGroup("many", [ValueError(str(number)) for number in range(100)])),
]


def lines() -> list[dict]:
    render, failures = JsonLines("orders", Masks(()), LIMITS), Failures(frozenset(), 200)
    context = {"attempt": 1, "state": "open"}
    records = [(0, 40, "a.b", "said", context, failures.describe(error), TRACE, SPAN) for error in ERRORS]
    return [json.loads(render(record)) for record in records]


def test_the_template_has_the_keys_of_the_lines() -> None:
    properties = table("elasticsearch/index-template.json")["template"]["mappings"]["properties"]
    # The first is the data stream's own, which Fluent Bit makes of the time.
    assert properties.keys() == {"@timestamp", *(key for line in lines() for key in line)}
    told = {key for line in lines() for key in line["exception"]}
    assert properties["exception"]["properties"].keys() == told
    # Whatever keys a program gives, no field is added.
    assert properties["context"]["type"] == "flattened"
    assert table("elasticsearch/index-template.json")["template"]["mappings"]["dynamic"] is False


def test_the_policy_is_the_one_that_the_template_names() -> None:
    template = table("elasticsearch/index-template.json")
    assert template["template"]["settings"]["index.lifecycle.name"] == "seawall-logs"
    phases = table("elasticsearch/lifecycle-policy.json")["policy"]["phases"]
    ages = [int(phase.get("min_age", "0d").removesuffix("d")) for phase in phases.values()]
    assert list(phases) == ["hot", "warm", "cold", "delete"]
    assert ages == sorted(ages)


def test_fluent_bit_reads_the_time_of_a_line() -> None:
    ((kind, keys),) = sections("fluent-bit/parsers.conf")
    parser = dict(keys)
    assert kind == "PARSER"
    assert parser["Format"] == "json"
    (line, *_) = lines()
    assert parser["Time_Key"] in line
    # Its %L is a fraction of a second.
    python = parser["Time_Format"].replace("%L", "%f")
    assert datetime.strptime(line[parser["Time_Key"]], python).year == 1970  # noqa: DTZ007  # Z is literal there


def test_fluent_bit_takes_whole_lines_to_the_data_stream() -> None:
    parts = [(kind, dict(keys)) for kind, keys in sections("fluent-bit/fluent-bit.conf")]
    parsers = {dict(keys)["Name"] for _, keys in sections("fluent-bit/parsers.conf")}
    named = {keys["Parser"] for _, keys in parts if "Parser" in keys}
    assert named == parsers
    for _, keys in parts:
        if keys.get("Name") == "tail":
            # A line of 32 KiB, and what a container runtime writes around it.
            assert int(keys["Buffer_Max_Size"].removesuffix("k")) * 1_024 > 32_768
    (output,) = [keys for kind, keys in parts if kind == "OUTPUT"]
    (pattern,) = table("elasticsearch/index-template.json")["index_patterns"]
    assert re.fullmatch(pattern.replace("*", ".*"), output["Index"])
    assert output["Write_Operation"] == "create"
