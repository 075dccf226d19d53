"""Refusals and failures as ``application/problem+json`` (RFC 9457), and what becomes of an exception.

Nothing internal leaves: a status and its standard phrase, a sentence that was written for readers, and a
correlation id by which an operator finds the rest. It sends nothing; ``endpoints`` does.
"""

from __future__ import annotations

import http
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from seawall.kernel import outcomes

__all__ = ["MEDIA_TYPE", "ProblemDetails", "Refused", "of_error"]

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemDetails:
    """One refusal.

    Attributes:
        status: HTTP status.
        detail: A sentence for the reader.
        members: Further members of the document.
        headers: Headers that belong to it, such as ``Allow``.
    """

    status: int
    detail: str = ""
    members: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """The members; ``about:blank`` says that the status tells it all (RFC 9457, section 4.2.1)."""
        shown: dict[str, object] = {
            "type": "about:blank",
            "title": http.HTTPStatus(self.status).phrase,
            "status": self.status,
        }
        if self.detail:
            shown["detail"] = self.detail
        return {**shown, **self.members}

    def body(self) -> bytes:
        """The document as JSON."""
        return msgspec.json.encode(self.document())


class Refused(Exception):
    """Ends the work on a request with this answer; never leaves this package.

    Args:
        problem: The answer.
    """

    def __init__(self, problem: ProblemDetails) -> None:
        super().__init__(problem.status)
        self.problem = problem


def of_error(error: BaseException, correlation_id: str) -> ProblemDetails:
    """What a client may read of an exception.

    Args:
        error: What was raised by the part that was asked.
        correlation_id: What the operator finds it by.
    """
    headers = {}
    wait = outcomes.retry_after(error)
    if wait is not None:
        headers["Retry-After"] = str(max(0, math.ceil(wait)))
    return ProblemDetails(
        status=outcomes.row_for(error).http,
        detail=outcomes.public_message(error, correlation_id),
        members={"correlation_id": correlation_id},
        headers=headers,
    )
