"""What the tests share: loggers that keep, fail or hang, spans that fail, guards on virtual time."""

from threading import Event

from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, get_current_span

from seawall import Breaker, Bulkhead, RateLimit, Retry, guard
from seawall.testing import VirtualClock

PLANTED = "pLanted-9f3c-Valu3"
"""A value that must appear nowhere."""


class Lines:
    """A logger that keeps what it is told, and in which span."""

    def __init__(self):
        self.lines = []
        self.spans = []

    def log(self, level, event, **values):
        self.lines.append((level, event, values))
        self.spans.append(get_current_span())

    @property
    def texts(self):
        return [text for _, text, _ in self.lines]


class Broken:
    """A logger whose every line fails."""

    def __init__(self):
        self.calls = 0

    def log(self, level, event, **values):
        self.calls += 1
        raise OSError("no space left")


class Stuck:
    """A logger that hangs until it is let go."""

    def __init__(self):
        self.entered = Event()
        self.let_go = Event()

    def log(self, level, event, **values):
        self.entered.set()
        self.let_go.wait(9)


class BrokenSpan(NonRecordingSpan):
    """A span of a provider that fails."""

    def __init__(self):
        super().__init__(INVALID_SPAN_CONTEXT)
        self.calls = 0

    def is_recording(self):
        return True

    def add_event(self, name, attributes=None, timestamp=None):
        self.calls += 1
        raise RuntimeError("no")


def refuse(*arguments):
    raise ConnectionRefusedError(f"the bank is closed for {PLANTED}")


def bank(hub, clock=None, **parts):
    """A guard with all its parts."""
    parts = {
        "breaker": Breaker(errors="5%", open_for="10s", probes=3),
        "retry": Retry(attempts=2, base="100ms"),
        "bulkhead": Bulkhead(limit=4),
        "rate": RateLimit(rate="1000/s", burst=1000),
        **parts,
    }
    return guard("bank", clock=clock or VirtualClock(), hub=hub, rng=lambda: 0.0, **parts)


def outage(one, clock):
    """Calls through an outage and out of it; what each of them gave."""
    gave = []
    for step in range(200):
        failing = step < 20
        result = one.try_call(refuse if failing else str.upper, PLANTED)
        gave.append(type(result.error).__name__ if result.error else result.value)
        clock.advance(1.0)
    return gave
