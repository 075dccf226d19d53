"""What integration tests stand on: real PostgreSQL servers."""

from tests.embedded.servers import cluster, engine, server

__all__ = ["cluster", "engine", "server"]
