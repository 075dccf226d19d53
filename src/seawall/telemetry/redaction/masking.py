"""Masks what in a text looks like a secret, and what is known to be one.

Texts reach this module after ``redaction`` has let them through: messages, and values of declared keys. Three
guards of different kinds look at them, none of which is trusted alone:

* *Known values*: the passwords and keys of the configuration, searched for as they are, and as a URL or a
  repr would write them. No pattern is involved, so no shape escapes it.
* *Structures* that are followed from their beginning to their end: PEM blocks, what stands before an ``@``,
  values behind a telling name. An end that is missing is the end of the text.
* *Shapes*: tokens, credentials by name, query strings, SQL (see ``sql``).

It is no reason to write data into a message: a name in a sentence has no shape. The writer's thread calls it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote, quote_plus

from seawall.telemetry.redaction.sql import mask_sql
from seawall.telemetry.redaction.withholding import MARGIN, Cut, Withheld

__all__ = ["MASK", "SECRETS_MAX", "SECRET_CHARS_MIN", "Masks"]

MASK: Final = "***"

SECRETS_MAX: Final = 256
"""Known values; each is searched for in every text."""

SECRET_CHARS_MIN: Final = 4
"""A shorter value would be found in ordinary words, and the holes would spell it."""

_PEM_BEGIN: Final = "-----BEGIN "
_PEM_END: Final = "-----END "
_WORD: Final = re.compile(r"[^\s\"'<>`]+")

# A value is quoted, or all up to the next space; a quote inside of it, as in the repr of bytes, hides spaces.
# Both ways to write a quote inside quotes are known.
_QUOTED: Final = r"(?:\"(?>(?:[^\"\\]|\\.|\"\")*)(?:\"|\\?\Z)|'(?>(?:[^'\\]|\\.|'')*)(?:'|\\?\Z))"
_NAMED: Final = re.compile(
    r"((?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?"
    r"|private[_-]?key|secret[_-]?key|credentials?|client[_-]?secret|signature|session[_-]?id|sslpassword)"
    r"[\"']?\s*(?:=>|:=|=|:)\s*)"
    rf"(?:{_QUOTED}(?=[\s,;&)\]}}]|\Z)|(?>(?:{_QUOTED}|[^\s\"'])*))",
    re.IGNORECASE | re.DOTALL,
)
_HEADERS: Final = re.compile(
    r"((?:proxy-)?authorization|(?:set-)?cookie2?|x-api-key|x-[a-z-]{0,40}signature[a-z0-9-]{0,40})"
    r"[\"']?\s*[:=]\s*[^\r\n]+",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer|negotiate)\s+[A-Za-z0-9._~+/=\-]{6,}", re.IGNORECASE)
_BASIC: Final = re.compile(r"\b([Bb]asic|BASIC)\s+(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/=]{6,}")
_QUERY: Final = re.compile(r"([?&][\w.\-\[\]%]{1,64}=)[^&\s\"'<>#]+")
_TOKENS: Final = re.compile(
    r"\beyJ[\w\-]{4,}(?:\.[\w\-]*){0,4}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk[-_]|[pr]k_live_|whsec_|hf_|npm_|pypi-|AIza|ya29\.)"
    r"[\w\-]{6,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{12,}"
    r"|SCRAM-SHA-\d+\$\S+"
    r"|\bmd5[0-9a-f]{32}\b"
)
_LONG: Final = 40
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+_\-]{40,}={0,2}")

# What has to occur for a pattern to match: searching for texts is so much quicker that most messages see none
# of the patterns.
_HEADER_STEMS: Final = ("authorization", "cookie", "x-")
_SCHEME_STEMS: Final = ("bearer", "basic", "negotiate")
_NAME_STEMS: Final = ("pass", "pwd", "secret", "token", "key", "credential", "signature", "session")
_TOKEN_STEMS: Final = (
    *("eyJ", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "sk-", "sk_"),
    *("k_live_", "whsec_", "hf_", "npm_", "pypi-", "AIza", "ya29.", "AKIA", "ASIA", "SCRAM-", "md5"),
)

_SHORT_WORD: Final = 12
"""A word of letters and digits up to this length has no shape but that of a known value."""


def _spellings(secret: str) -> set[str]:
    spelt = {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
    }
    return {piece for each in spelt for piece in _pieces(each)}


def _pieces(text: str) -> list[str]:
    """Equal parts, so that the last is not too short to be told from ordinary words."""
    size = -(-len(text) // -(-len(text) // MARGIN))
    return [text[at : at + size] for at in range(0, len(text), size)]


class Masks:
    """What one configuration knows of secrets.

    Attributes:
        masked: texts in which something was masked.
        shortened: texts of which only the beginning was shown.
    """

    __slots__ = ("_count", "_known", "masked", "shortened")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: tuple[str, ...] = ()
        self._count = 0
        self.masked = self.shortened = 0
        self.protect(*secrets)

    def protect(self, *secrets: str) -> int:
        """Mask these values from now on, wherever they occur.

        Returns:
            How many of them cannot be masked: too short, or more than :data:`SECRETS_MAX` in all.
        """
        refused = 0
        known = set(self._known)
        for secret in secrets:
            if len(secret) < SECRET_CHARS_MIN or self._count >= SECRETS_MAX:
                refused += 1
                continue
            spelt = _spellings(secret)
            if not spelt <= known:
                self._count += 1
                known |= spelt
        # Longest first, or the beginning of a longer one would be masked and its rest shown. Replaced as a
        # whole: the writer may be walking over the former one.
        self._known = tuple(sorted(known, key=len, reverse=True))
        return refused

    def known(self, text: str) -> str:
        """The text without known values; for what is no free text, such as the names of files."""
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def text(self, text: str, chars: int) -> str:
        """The text as it may be shown, at most so many characters of it.

        Args:
            text: a whole text, or the beginning of one (:class:`~.redaction.Cut`).
            chars: how much is shown.
        """
        if isinstance(text, Withheld):
            return text
        shown = self._masked(str(text), whole=not isinstance(text, Cut))
        if isinstance(text, Cut):
            # The last characters may be the beginning of a secret whose rest was cut off.
            shown = shown[: max(0, len(shown) - MARGIN)]
        elif len(shown) <= chars:
            return shown
        self.shortened += 1
        return shown[:chars] + "…"

    def _masked(self, text: str, *, whole: bool) -> str:
        original = text
        text = self.known(text)
        if len(text) <= _SHORT_WORD and text.isalnum():
            self.masked += text is not original
            return text
        if _PEM_BEGIN in text:
            text = _without_pem(text)
        if "@" in text or not whole:
            text = _without_userinfo(text, whole=whole)
        text = _without_credentials(text)
        if len(text) >= _LONG and max(map(len, text.split()), default=0) >= _LONG:
            text = _LONG_RUN.sub(_unless_plain, text)
        text = mask_sql(text)
        self.masked += text != original
        return text


def _without_pem(text: str) -> str:
    parts: list[str] = []
    at = 0
    while (begin := text.find(_PEM_BEGIN, at)) >= 0:
        parts += [text[at:begin], MASK]
        end = text.find(_PEM_END, begin)
        if end < 0:
            return "".join(parts)
        # Up to the dashes behind the label, or to the end of its line.
        close = text.find("-----", end + len(_PEM_END))
        at = len(text) if close < 0 else close + 5
    return "".join([*parts, text[at:]])


def _without_userinfo(text: str, *, whole: bool) -> str:
    def masked(word: re.Match[str]) -> str:
        found = word.group()
        if not whole and word.end() == len(text) and "://" in found:
            return found.partition("://")[0] + "://" + MASK  # the sign may have been cut off
        # Up to the last sign: passwords with an @ or a slash are common, and nobody escapes them.
        before, _, behind = found.rpartition("@")
        scheme, mark, _ = before.partition("://")
        if mark:
            return f"{scheme}://{MASK}@{behind}"
        return f"{MASK}@{behind}" if ":" in before else found

    return _WORD.sub(masked, text)


def _occurs(stems: tuple[str, ...], text: str) -> bool:
    for stem in stems:  # noqa: SIM110 -- any() costs a generator per text
        if stem in text:
            return True
    return False


def _without_credentials(text: str) -> str:
    folded = text.casefold()
    if _occurs(_HEADER_STEMS, folded):
        text = _HEADERS.sub(rf"\1: {MASK}", text)
    if _occurs(_SCHEME_STEMS, folded):
        text = _BEARER.sub(rf"\1 {MASK}", text)
        text = _BASIC.sub(rf"\1 {MASK}", text)
    if ("=" in text or ":" in text) and _occurs(_NAME_STEMS, folded):
        text = _NAMED.sub(rf"\1{MASK}", text)
    if "=" in text and ("?" in text or "&" in text):
        text = _QUERY.sub(rf"\1{MASK}", text)
    return _TOKENS.sub(MASK, text) if _occurs(_TOKEN_STEMS, text) else text


def _unless_plain(run: re.Match[str]) -> str:
    """A long run is a key if it mixes what words and numbers don't."""
    text = run.group()
    classes: tuple[Callable[[str], bool], ...] = (str.islower, str.isupper, str.isdigit)
    mixed = all(any(kind(character) for character in text) for kind in classes)
    return MASK if mixed else text
