"""Passwords and keys: never in a repr, never in a message.

``Secret`` carries a text through records that somebody may print; ``read_file`` is behind the ``*_file``
keys. It encrypts nothing and locks no memory. The configuration's loader calls it.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final

__all__ = ["SECRET_MAX_BYTES", "Secret", "SecretFileError", "read_file"]

SECRET_MAX_BYTES: Final = 4096
"""Longer than any password, verifier or key that somebody wrote on purpose."""


class Secret:
    """A text that shows itself to nobody by accident.

    Args:
        text: what to hide.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        """Rebuild from the text, so that settings reach the workers."""
        return type(self), (self._text,)


class SecretFileError(ValueError):
    """A secret's file holds no secret; says why, without a word of its content."""


def read_file(path: str, directory: Path) -> str:
    """The secret in a file: its content without the line break at the end.

    Args:
        path: absolute, or from ``directory``.
        directory: where the configuration is.

    Raises:
        SecretFileError: it can't be read, is empty, too long, not UTF-8, or of several lines.
    """
    try:
        with (directory / path).open("rb") as file:
            raw = file.read(SECRET_MAX_BYTES + 3)  # a line break may follow
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise SecretFileError(why or "it is no readable file") from None
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    if len(raw) > SECRET_MAX_BYTES:
        raise SecretFileError(f"it has more than {SECRET_MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretFileError("it is not UTF-8") from None
    if not text:
        raise SecretFileError("it is empty")
    if any(character in text for character in "\0\r\n"):
        raise SecretFileError("it has several lines")
    return text
