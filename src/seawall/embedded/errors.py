"""What goes wrong with PostgreSQL servers of our own; each class is a leaf of the kernel's tree.

Wrong values (a settings key, a damaged state file) are ``PolicyError``, a wrong call (an unknown node, a
directory that holds something else) is ``UsageError``; only what has no name there is defined here.
"""

from __future__ import annotations

from seawall.kernel.errors import DatabaseUnavailable, SeawallError, UsageError

__all__ = ["ClusterError", "EngineNotFound", "PortTaken", "StatementFailed"]


class EngineNotFound(UsageError):
    """No PostgreSQL of the wanted kind and version is installed; the message names what to install."""

    __slots__ = ()


class ClusterError(DatabaseUnavailable):
    """A server did not do what it was told: start, stop, answer, follow, be rewound.

    The component is the node's name (or ``cluster``), the reason ends with the last lines of its log where
    there are any.
    """

    __slots__ = ()


class PortTaken(ClusterError):
    """Another program listens on the node's port; ``Cluster.start`` then chooses another one."""

    __slots__ = ()


class StatementFailed(SeawallError):
    """The server answered a statement with an error.

    Args:
        sqlstate: The five characters of PostgreSQL's appendix "Error Codes".
        message: The server's primary message, without detail (which may carry values).
    """

    __slots__ = ("message", "sqlstate")

    def __init__(self, sqlstate: str, message: str) -> None:
        self.sqlstate = sqlstate
        self.message = message

    def __str__(self) -> str:
        return f"{self.sqlstate}: {self.message}"

    def __reduce__(self) -> tuple[type[StatementFailed], tuple[object, ...]]:
        """Rebuild from the constructor's arguments, so that errors cross process borders."""
        return type(self), (self.sqlstate, self.message)
