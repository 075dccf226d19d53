"""An exporter whose collector is a script, so that every ending can be had at once."""

import asyncio
import contextlib

from seawall.telemetry.otlp import Answer, Encoder, Exporter, OtlpSettings, Verdict
from seawall.testing.loop import run
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
        answers: Verdicts, exceptions to raise, or HANG.
        last: What follows them.
    """

    def __init__(self, *answers, last=ACCEPTED):
        self.answers = list(answers)
        self.last = last
        self.attempts = []
        self.at_once = self.most_at_once = 0
        self.closed = self.forks = 0
        self.pack_error = None

    async def pack(self, request):
        await asyncio.sleep(0)
        if self.pack_error is not None:
            raise self.pack_error
        return b"".join(request.pieces)

    async def send(self, body, spans, timeout_s):
        answer = self.answers.pop(0) if self.answers else self.last
        self.attempts.append((asyncio.get_running_loop().time(), spans))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if answer == HANG:
                # as a real one does with a peer that says nothing
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await asyncio.Event().wait()
                return Verdict(answer=Answer.RETRY, reason="timeout")
            await asyncio.sleep(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.at_once -= 1

    async def close(self):
        self.closed += 1

    def forked(self):
        self.forks += 1

    @property
    def times(self):
        return [at for at, _ in self.attempts]


def exporting(main, *answers, spans=(), rng=lambda: 1.0, last=ACCEPTED, **settings):
    """Run ``main(exporter, lane, script)`` on virtual time, with the exporter started."""

    async def body():
        lane, script = Lane(spans), Script(*answers, last=last)
        chosen = OtlpSettings(**{"compression": "none", **settings})
        exporter = Exporter(lane, script, chosen, Encoder(request_bytes=chosen.encoded_bytes), rng=rng)
        exporter.start()
        try:
            await main(exporter, lane, script)
            balanced(exporter)
        finally:
            await exporter.stop(0.0)
            balanced(exporter)

    # No socket, no thread: nothing outside needs real time.
    run(body())


def balanced(exporter):
    """Every span that was taken is in exactly one place."""
    now = exporter.statistics()
    settled = now.exported + sum(now.dropped.values())
    assert now.taken == settled + now.pending + now.buffered + now.sending, now
    assert min(now.pending, now.buffered, now.sending, *now.dropped.values()) >= 0
    return now
