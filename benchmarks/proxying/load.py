"""Load by pgbench: a number of transactions by a number of clients, and what it cost whom."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.proxying import processes
from benchmarks.proxying.cluster import pgbench
from benchmarks.proxying.endpoints import Endpoint

EACH_MIN = 150
"""Transactions per client; with fewer the connections would cost more than what goes over them."""
SETTLE_S = 0.1
"""Behind a run, for what a proxy has to do about clients that have gone: it belongs to that run."""
TIMEOUT_S = 600.0

SEVERAL = """\\set aid random(1, 100000 * :scale)
\\set delta random(-5000, 5000)
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
END;
"""
"""A transaction of five statements."""


class LoadFailedError(Exception):
    """pgbench did not do what it was told: a figure from such a run would mean nothing."""


@dataclass(frozen=True)
class Kind:
    """One sort of transaction."""

    name: str
    protocol: str
    several: bool = False
    share: float = 1.0
    """Of the usual number of transactions; one of several statements takes longer."""


SIMPLE = Kind("simple", "simple")
EXTENDED = Kind("extended", "extended")
PREPARED = Kind("prepared", "prepared")
SEVERAL_STATEMENTS = Kind("5 statements", "simple", several=True, share=0.25)


@dataclass
class Arm:
    """One endpoint under one load; an arm of ``harness.interleave`` that returns the proxy's CPU seconds.

    What the connections themselves cost is measured before every run, with one transaction each, and taken
    off: measured once, its error would be the same in all rounds, and no median would be rid of it.
    """

    endpoint: Endpoint
    kind: Kind
    clients: int
    database: str
    script: Path
    rates: list[float] = field(default_factory=list)
    """Transactions per second of each run."""

    def __call__(self, number: int) -> float:
        """Run about ``number`` transactions and return the CPU seconds they would have cost the proxy."""
        connecting, _ = self._run(1)
        # Many clients get more: what their connections cost and is taken off must stay the smaller part.
        each = max(EACH_MIN, int(number * self.kind.share) // self.clients)
        spent, rate = self._run(each)
        self.rates.append(rate)
        return max(0.0, spent - connecting) / (self.clients * (each - 1)) * number

    def _run(self, each: int) -> tuple[float, float]:
        """The proxy's CPU seconds, and transactions per second."""
        pids = self.endpoint.pids()
        before = processes.cpu_s(pids)
        rate = transactions(
            self.endpoint.port,
            self.kind,
            clients=self.clients,
            each=each,
            database=self.database,
            script=self.script,
        )
        time.sleep(SETTLE_S)
        return processes.cpu_s(pids) - before, rate


def transactions(port: int, kind: Kind, *, clients: int, each: int, database: str, script: Path) -> float:
    """Run pgbench and return its transactions per second, connecting not counted.

    Raises:
        LoadFailedError: One transaction failed, or a client gave up.
    """
    what = ["-f", str(script)] if kind.several else ["-S"]
    command = [pgbench(), "-n", *what, "-M", kind.protocol, "-c", str(clients), "-j", "1", "-t", str(each)]
    command += ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres", database]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    wanted = f"{clients * each}/{clients * each}"
    rate = re.search(r"tps = ([\d.]+) \(without initial", done.stdout)
    if done.returncode or wanted not in done.stdout or rate is None:
        raise LoadFailedError(
            f"pgbench through port {port}, {kind.name}, {clients} clients: wanted {wanted} transactions\n"
            f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        )
    return float(rate.group(1))
