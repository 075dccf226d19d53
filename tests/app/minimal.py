"""The smallest configuration that loads, and a way to load more than that."""

from collections.abc import Mapping

from seawall.app import config

BACKEND = '[[backends.instances]]\nname = "one"\nhost = "db.internal"\n'
USER = '[[auth.users]]\nname = "bob"\npassword = "hunter2"\n'
MINIMAL = BACKEND + USER


def load(text: str, env: Mapping[str, str] | None = None, **options) -> config.Loaded:
    """Load a document beside a backend and a user."""
    return config.loads(text + "\n" + MINIMAL, env or {}, **options)


def refusal(text: str, env: Mapping[str, str] | None = None, **options) -> config.ConfigError:
    """What the loader says about a whole document that it refuses."""
    try:
        loaded = config.loads(text, env or {}, **options)
    except config.ConfigError as error:
        return error
    raise AssertionError(f"was accepted: {loaded}")


def problem(text: str, env: Mapping[str, str] | None = None, **options) -> str:
    """The only complaint about a document that stands beside a backend and a user."""
    error = refusal(text + "\n" + MINIMAL, env, **options)
    (only,) = error.problems
    return str(only)
