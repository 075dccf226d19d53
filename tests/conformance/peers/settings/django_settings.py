"""Settings for Django's own tests: PostgreSQL twice, and a runner that writes down every outcome.

Read by Django's ``runtests.py`` in an environment of its own; told by environment variables where the server
is (``PEER_HOST``, ``PEER_PORT``, ``PEER_DATABASE``) and where the outcomes go (``PEER_REPORT``).
"""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from typing import Any

from django.test.runner import DiscoverRunner

RANK = ("failed", "passed", "failed as expected", "skipped")


def _database(name: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": "postgres",
        "HOST": os.environ["PEER_HOST"],
        "PORT": os.environ["PEER_PORT"],
    }


DATABASES = {
    "default": _database(os.environ["PEER_DATABASE"]),
    "other": _database(os.environ["PEER_DATABASE"] + "_other"),
}
SECRET_KEY = "tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "django_settings.Recorder"


class Recording(unittest.TextTestResult):
    """Keeps the worst outcome of each test."""

    outcomes: dict[str, str] = {}

    def _keep(self, test: Any, outcome: str) -> None:
        name = test.id() if hasattr(test, "id") else str(test)
        before = self.outcomes.get(name)
        if before is None or RANK.index(outcome) < RANK.index(before):
            self.outcomes[name] = outcome

    def addSuccess(self, test: Any) -> None:
        """Note that it passed."""
        super().addSuccess(test)
        self._keep(test, "passed")

    def addError(self, test: Any, err: Any) -> None:
        """Note that it broke."""
        super().addError(test, err)
        self._keep(test, "failed")

    def addFailure(self, test: Any, err: Any) -> None:
        """Note that it failed."""
        super().addFailure(test, err)
        self._keep(test, "failed")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """Note a failed part under its test's name."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._keep(test, "failed")

    def addSkip(self, test: Any, reason: str) -> None:
        """Note that it was skipped."""
        super().addSkip(test, reason)
        self._keep(test, "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        """Note that it failed as it should."""
        super().addExpectedFailure(test, err)
        self._keep(test, "failed as expected")

    def addUnexpectedSuccess(self, test: Any) -> None:
        """Note that it passed and should not have."""
        super().addUnexpectedSuccess(test)
        self._keep(test, "failed")


class Recorder(DiscoverRunner):
    """Django's runner with the outcomes written to a file."""

    def get_resultclass(self) -> type[Recording]:
        """Return the class that records."""
        return Recording

    def run_suite(self, suite: Any, **options: Any) -> Any:
        """Run, then write."""
        try:
            return super().run_suite(suite, **options)
        finally:
            Path(os.environ["PEER_REPORT"]).write_text(json.dumps(Recording.outcomes))
