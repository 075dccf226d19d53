"""A program that exports, forks, and exports on both sides; run by test_forks with the collector's URL."""

import asyncio
import os
import sys

from seawall.telemetry.otlp import OtlpSettings, exporter_to
from tests.telemetry.otlp.collectors import Lane
from tests.telemetry.otlp.samples import light


def main(url):
    lane = Lane()
    exporter = exporter_to(OtlpSettings(endpoint=url, in_flight=1, timeout_s=5.0), lane)
    loop = asyncio.new_event_loop()

    async def export(name):
        lane.spans += light(1, name=name)
        exporter.start()
        assert await exporter.flush()
        return exporter.statistics()

    assert loop.run_until_complete(export("parent before")).exported == 1
    lane.spans += light(1, name="parent waiting")
    child = os.fork()
    if child == 0:
        lane.spans.clear()  # as the tracer's lane does
        assert exporter.statistics().taken == 0
        now = asyncio.run(export("child"))
        assert (now.taken, now.exported) == (1, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    now = loop.run_until_complete(export("parent after"))
    assert (now.taken, now.exported) == (3, 3)
    loop.run_until_complete(exporter.stop())
    loop.close()


main(sys.argv[1])
