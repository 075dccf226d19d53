"""A program that exports, forks, and exports on both sides; run by a test with the collector's URL."""

import os
import sys

from seawall.telemetry.otlp import Exporter, OtlpSettings
from tests.telemetry.otlp.collectors import Lane
from tests.telemetry.otlp.samples import light


def main(url):
    lane = Lane(light(1, name="parent before"))
    exporter = Exporter(lane, OtlpSettings(endpoint=url, poll_s=50.0))
    exporter.start()
    assert exporter.flush()
    lane.spans += light(1, name="parent waiting")
    child = os.fork()
    if child == 0:
        lane.spans += light(1, name="child")
        now = exporter.stop()
        os._exit((now.taken, now.exported) != (1, 1))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    lane.spans += light(1, name="parent after")
    now = exporter.stop()
    assert (now.taken, now.exported) == (3, 3), now


main(sys.argv[1])
