"""A worker that counts in a block of metrics shared with its parent: what ``test_prometheus`` kills.

``python -m tests.integration.counting DESCRIPTOR ROW``: counts until its standard input ends, then says how
much it has counted.
"""

import select
import sys

from seawall.telemetry.metrics import Block, Kind, Layout, Metric, Registry, Sheet

JOBS = Metric(name="jobs", kind=Kind.COUNTER, help="Jobs done.", labels=("queue",))
DURATION = Metric(name="job_duration", kind=Kind.NATIVE_HISTOGRAM, help="Time they took.", unit="seconds")
WORKING = Metric(name="workers_working", kind=Kind.GAUGE, help="Workers that are alive.")
LAYOUT = Layout([JOBS, DURATION, WORKING], rows=2)

BURST = 500
PAUSE_S = 0.002


def main() -> None:
    """Count."""
    sheet = Sheet(Block(LAYOUT, descriptor=int(sys.argv[1])), int(sys.argv[2]))
    registry = Registry(cells=sheet)
    jobs, duration = registry.declare(JOBS).cell("mail"), registry.declare(DURATION).cell()
    registry.declare(WORKING).cell().set(1)
    counted = 0
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        for number in range(BURST):
            jobs.inc()
            duration.observe(0.001 * (1 + number))
        counted += BURST
    print(counted)


if __name__ == "__main__":
    main()
