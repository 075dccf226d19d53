"""Real PostgreSQL clusters on this machine, for demos, tests and trials.

::

    with Cluster.create(replicas=2) as cluster:
        cluster.primary.kill()
        cluster.promote("pg2")

It is no way to run a database that anybody depends on. The command line's ``seawall cluster`` and the
integration tests stand on it. Linux only: processes are looked at through ``/proc``.
"""

from seawall.embedded.cluster import Cluster, Promotion
from seawall.embedded.engines import Engine, find_engine
from seawall.embedded.errors import ClusterError, EngineNotFound, PortTaken, StatementFailed
from seawall.embedded.node import Node
from seawall.embedded.rejoining import Rejoin
from seawall.embedded.status import NodeStatus

__all__ = [
    "Cluster",
    "ClusterError",
    "Engine",
    "EngineNotFound",
    "Node",
    "NodeStatus",
    "PortTaken",
    "Promotion",
    "Rejoin",
    "StatementFailed",
    "find_engine",
]
