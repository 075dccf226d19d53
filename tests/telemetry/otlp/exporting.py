"""An exporter whose thread is the test and whose collector is a script: every ending can be had at once."""

from seawall.telemetry.otlp import Exporter, OtlpSettings
from seawall.telemetry.otlp.verdict import Answer, Verdict
from seawall.testing import VirtualClock
from tests.telemetry.otlp.collectors import Lane

ACCEPTED = Verdict(answer=Answer.ACCEPTED)
LATER = Verdict(answer=Answer.RETRY, reason="connection", text="refused")
NEVER = Verdict(answer=Answer.REFUSED, reason="refused", text="HTTP 400")
HANG = "hang"


def asked(seconds):
    return Verdict(answer=Answer.RETRY, reason="throttled", retry_after_s=seconds)


class Script:
    """A transport: answers by its script, then always with ``last``.

    Args:
        clock: What passes while it hangs.
        answers: Verdicts, exceptions to raise, or HANG.
        last: What follows them.
    """

    def __init__(self, clock, *answers, last=ACCEPTED):
        self.clock = clock
        self.answers = list(answers)
        self.last = last
        self.attempts = []
        self.closed = self.forks = 0

    def send(self, body, spans, timeout_s):
        answer = self.answers.pop(0) if self.answers else self.last
        self.attempts.append((self.clock.monotonic(), spans))
        if answer == HANG:
            self.clock.advance(timeout_s)
            return Verdict(answer=Answer.RETRY, reason="timeout")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed += 1

    def forked(self):
        self.forks += 1

    @property
    def times(self):
        return [at for at, _ in self.attempts]


class Driven:
    """An exporter on virtual time, without a thread: :meth:`go` takes its turns and moves the clock."""

    def __init__(self, *answers, spans=(), last=ACCEPTED, rng=lambda: 1.0, **settings):
        self.clock = VirtualClock()
        self.lane = Lane(spans)
        self.script = Script(self.clock, *answers, last=last)
        self.exporter = Exporter(
            self.lane,
            OtlpSettings(**settings),
            transport=lambda _: self.script,
            clock=self.clock.monotonic,
            rng=rng,
        )
        self.run = self.exporter._run
        self.turns = self.exporter._turns(self.run)
        self.ended = False
        self.slices = 0

    def go(self, seconds, until=lambda: False):
        """Until so much time has passed, or ``until`` holds, or the thread ends."""
        end = self.clock.monotonic() + seconds
        while not until():
            rest_s = next(self.turns, None)
            if rest_s is None:
                self.ended = True
                return
            self.slices += rest_s == 0.0
            if until():
                return
            left_s = end - self.clock.monotonic()
            if left_s <= 0.0 or rest_s > left_s:
                self.clock.advance(max(left_s, 0.0))
                return
            self.clock.advance(rest_s)
            self.balanced()

    def flush(self, seconds=1_000.0):
        """Whether what is in the lane now is settled in time."""
        self.run.wanted += 1
        wanted = self.run.wanted
        self.go(seconds, lambda: self.run.flushed >= wanted)
        return self.run.flushed >= wanted

    def stop(self, seconds):
        """As the exporter's, whose thread has so much time."""
        self.run.stop_at = self.clock.monotonic() + seconds
        self.go(seconds)
        self.exporter._retire(self.run)
        return self.balanced()

    def balanced(self):
        """Every span that was taken is in exactly one place."""
        now = self.exporter.statistics()
        assert now.taken == sum(self.lane.takes)
        assert now.taken == now.exported + sum(now.dropped.values()) + now.pending, now
        assert min(now.exported, now.pending, *now.dropped.values()) >= 0, now
        return now
