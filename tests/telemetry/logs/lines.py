"""What the tests share: a strict reading of the schema, and logs that lead into a file."""

import json
import re
from contextlib import contextmanager

from seawall.telemetry.logs import LogSettings, configure

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
ORDER = ["timestamp", "level", "service", "traceId", "spanId", "message", "exception", "context"]

PLANTED = "pLanted-9f3c-Valu3"
"""A value that must appear in no line."""


def check_exception(told):
    assert set(told) <= {
        *("type", "message", "code", "stackTrace", "cause", "during", "exceptions", "omitted")
    }
    assert isinstance(told["type"], str)
    assert told["type"]
    for key in ("message", "code", "stackTrace"):
        assert isinstance(told.get(key, ""), str)
    for key in ("cause", "during"):
        if key in told:
            check_exception(told[key])
    for member in told.get("exceptions", []):
        check_exception(member)


def check(data: bytes) -> dict:
    """Read exactly one line, and hold it against the schema."""
    assert data.endswith(b"\n"), data
    assert data.count(b"\n") == 1, data
    line = json.loads(data)
    assert list(line) == [key for key in ORDER if key in line]
    assert {"timestamp", "level", "service", "message", "context"} <= set(line)
    assert STAMP.fullmatch(line["timestamp"])
    assert line["level"] in LEVELS
    assert isinstance(line["service"], str)
    assert isinstance(line["message"], str)
    assert ("traceId" in line) == ("spanId" in line)
    if "traceId" in line:
        assert re.fullmatch("[0-9a-f]{32}", line["traceId"])
        assert int(line["traceId"], 16)
        assert re.fullmatch("[0-9a-f]{16}", line["spanId"])
        assert int(line["spanId"], 16)
    if "exception" in line:
        check_exception(line["exception"])
    assert isinstance(line["context"], dict)
    assert isinstance(line["context"]["logger"], str)
    return line


def read(path) -> list[dict]:
    """The lines of a file, each checked."""
    data = path.read_bytes()
    assert data == b"" or data.endswith(b"\n")
    return [check(line + b"\n") for line in data.split(b"\n")[:-1]]


@contextmanager
def logging_to(path, **settings):
    """Logs that lead into a file; ``lines()`` reads what was logged so far."""
    options = {"service": "orders", "destination": path, "batch_s": 0, "format": "json"} | settings
    with configure(LogSettings(**options)) as handle:

        def lines():
            assert handle.flush(10)
            return read(path)

        yield handle, lines
