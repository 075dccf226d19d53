"""The same servers as the integration tests have."""

from tests.embedded.servers import cluster, engine, place, server

__all__ = ["cluster", "engine", "place", "server"]
