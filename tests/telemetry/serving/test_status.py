"""The registry: what it takes, what it refuses and why."""

from dataclasses import dataclass

import pytest

from seawall.kernel.errors import UsageError
from seawall.telemetry.serving.access import Role
from seawall.telemetry.serving.status import OPERATIONS_MAX, StatusApi
from tests.telemetry.serving.serving import Backend, Done, Force, Which, an_api


@dataclass
class Untypable:
    """Has no JSON schema."""

    field: complex


def test_what_is_registered_is_listed_by_path() -> None:
    assert [(o.method, o.path, o.role, o.identifier) for o in an_api().operations()] == [
        ("POST", "/api/v1/breakers/force", Role.OPERATOR, "order_breakers_force"),
        ("GET", "/api/v1/circuit-breaker/status", Role.VIEWER, "read_circuit_breaker_status"),
    ]


def test_one_path_may_be_read_and_ordered() -> None:
    api = StatusApi()
    api.resource("breakers", list[Backend], list)
    api.order("breakers", Force, lambda body, caller: None)
    assert len(api.operations()) == 2


@pytest.mark.parametrize(
    ("register", "why"),
    [
        (lambda api: api.resource("Bad Name", Backend, list), "allowed are segments"),
        (lambda api: api.resource("../etc", Backend, list), "allowed are segments"),
        (lambda api: api.resource("x", Untypable, list), "has no JSON schema"),
        (lambda api: api.resource("x/{backend}", Backend, list), "has to have the fields backend"),
        (
            lambda api: api.resource("x/{other}", Backend, list, parameters=Which),
            "has to have the fields other",
        ),
        (lambda api: api.resource("x", Backend, list, aliases=("/health",)), "outside"),
        (lambda api: api.resource("x", Backend, list, aliases=("/metrics",)), "outside"),
        (lambda api: api.resource("x", Backend, list, aliases=("no-slash",)), "outside"),
        (lambda api: api.resource("x", Backend, list, aliases=("/api/v1/y",)), "outside"),
        (lambda api: api.resource("x", Backend, list, aliases=("/x/{backend}",)), "same parameters"),
        (lambda api: api.resource("circuit-breaker/status", Backend, list), "registered already"),
        (
            lambda api: api.resource("y", Backend, list, aliases=("/circuit-breaker/status",)),
            "registered already",
        ),
        (lambda api: api.resource("circuit-breaker-status", Backend, list), "name it apart"),
        (lambda api: api.order("x", Force, print, role=Role.VIEWER), "viewers read"),
        (lambda api: api.order("x/{y}", Force, print), "put them into the body"),
        (lambda api: api.order("x", int, print), "a struct or a dataclass"),
        (lambda api: api.order("x", Force, print, answer=Untypable), "has no JSON schema"),
    ],
)
def test_what_is_refused(register, why) -> None:
    api = an_api()
    with pytest.raises(UsageError, match=why):
        register(api)
    assert len(api.operations()) == 2


def test_two_paths_that_match_the_same_are_one() -> None:
    api = StatusApi()
    api.resource("x/{backend}", Backend, list, parameters=Which)
    with pytest.raises(UsageError, match="registered already"):
        api.resource("x/{limit}", Backend, list, parameters=Which)


def test_it_is_bounded_and_closed_by_what_serves_it() -> None:
    api = StatusApi()
    for number in range(OPERATIONS_MAX):
        api.resource(f"r{number}", Backend, list)
    with pytest.raises(UsageError, match=f"allowed are {OPERATIONS_MAX}"):
        api.resource("more", Backend, list)
    api.close()
    with pytest.raises(UsageError, match="before the routes are made"):
        api.order("late", Force, print, answer=Done)
    assert repr(api) == f"<StatusApi 'Seawall status' closed operations={OPERATIONS_MAX}>"
