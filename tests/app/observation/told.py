"""Facts and records as the proxy tells them, for these tests."""

from seawall.app.observation.records import Record
from seawall.proxy.watching import Fact
from seawall.wire.pgwire import messages

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


def traceparent(*, sampled=True, trace=TRACE_ID, parent=PARENT_ID):
    return f"00-{trace}-{parent}-{'01' if sampled else '00'}"


def commented(sql, **more):
    """A statement with the comment that sqlcommenter would write."""
    return f"{sql} /*traceparent='{traceparent(**more)}'*/"


def batch(sql, *values, name=""):
    """A statement with parameters as drivers say it."""
    return b"".join(
        (
            messages.parse(name, sql),
            messages.bind("", name, [value.encode() for value in values]),
            messages.describe_portal(""),
            messages.execute(),
            messages.sync(),
        )
    )


def fact(**changes):
    told = {
        "ended_at": 50.0,
        "waited_s": 0.0,
        "fitted_s": 0.0,
        "lead_s": 0.0,
        "took_s": 0.25,
        "idle_s": 0.0,
        "user": "ada",
        "database": "shop",
        "backend": "one",
        "traced": False,
        "error": b"",
        "text": b"",
        "said": b"",
        "client_pid": 7,
    }
    return Fact(**{**told, **changes})


VERBS = {"SELECT": "SELECT 1 FROM", "INSERT": "INSERT INTO", "DELETE": "DELETE FROM"}


def record(*, command="SELECT", table="orders", traceparent="", tracestate="", **changes):
    """A record of a query that does this and says that about its trace."""
    context = {"traceparent": traceparent, "tracestate": tracestate}
    pairs = ",".join(f"{name}='{value}'" for name, value in context.items() if value)
    said = f"{VERBS[command]} {table}" if table else command
    told = {
        "worker": 1,
        "ended_at": 50.0,
        "waited_s": 0.0,
        "fitted_s": 0.0,
        "lead_s": 0.0,
        "took_s": 0.25,
        "idle_s": 0.0,
        "user": "ada",
        "database": "shop",
        "backend": "one",
        "traced": bool(traceparent),
        "client_pid": 7,
        "sqlstate": "",
        "text": (f"{said} /*{pairs}*/" if pairs else said).encode(),
    }
    return Record(**{**told, **changes})


def error_body(sqlstate, message, detail=""):
    """The body of an ErrorResponse."""
    return messages.error_response(sqlstate, message, severity="ERROR", detail=detail)[5:]
