"""The same servers as the integration tests have."""

from tests.embedded.servers import cluster, engine, server

__all__ = ["cluster", "engine", "server"]
