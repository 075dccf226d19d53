"""Gauges of the supervisor, read as a scraper reads them."""

import pytest

from seawall.app.observation.gauges import UNKNOWN, Gauges
from seawall.kernel.proxy_signals import FailoverEnded, TopologyChanged, WorkerEnded
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology, untracked
from seawall.telemetry.catalogue import proxy as rows
from seawall.telemetry.metrics import Registry
from tests.app.observation.scraping import page_of, samples


def topology(phase=Phase.SERVING, primary="one", lag=4096, role=NodeRole.REPLICA):
    nodes = (
        NodeView("one", NodeRole.PRIMARY, 1, 7, 1.0),
        NodeView("two", role, 1, 7, 1.0, lag_bytes=lag),
    )
    return Topology(3, phase, primary, system_identifier=7, timeline=1, nodes=nodes, multi_primary=False)


@pytest.fixture
def made():
    registry = Registry()
    gauges = Gauges(registry, ["one", "two", "three"])
    return gauges, lambda: samples(page_of(registry))


def test_servers_are_shown_as_the_topology_has_them(made):
    gauges, read = made
    gauges.show(topology(), 2)
    found = read()
    assert found["seawall_proxy_workers"] == 2
    assert found["seawall_proxy_topology_epoch"] == 3
    assert [found[f'seawall_proxy_primary{{backend="{name}"}}'] for name in ("one", "two", "three")] == [
        1,
        0,
        0,
    ]
    assert found['seawall_proxy_backend_lag_bytes{backend="two"}'] == 4096
    assert 'seawall_proxy_backend_lag_bytes{backend="one"}' not in found
    states = {key for key, value in found.items() if key.startswith("seawall_proxy_backend_state{") and value}
    assert states == {
        'seawall_proxy_backend_state{backend="one",state="primary"}',
        'seawall_proxy_backend_state{backend="two",state="replica"}',
        'seawall_proxy_backend_state{backend="three",state="unknown"}',
    }


@pytest.mark.parametrize("role", list(NodeRole))
def test_every_role_has_a_state(made, role):
    gauges, read = made
    gauges.show(topology(role=role), 1)
    key = f'seawall_proxy_backend_state{{backend="two",state="{role.value}"}}'
    assert read()[key] == 1


def test_roles_and_states_are_the_same_words():
    assert {role.value for role in NodeRole} == set(rows.BACKEND_STATES)
    assert NodeRole.UNKNOWN.value == UNKNOWN


def test_a_lag_that_is_not_known_any_more_goes(made):
    gauges, read = made
    gauges.show(topology(), 1)
    gauges.show(topology(lag=None), 1)
    assert 'seawall_proxy_backend_lag_bytes{backend="two"}' not in read()
    gauges.show(topology(lag=7), 1)
    assert read()['seawall_proxy_backend_lag_bytes{backend="two"}'] == 7


def test_without_a_primary_none_is_shown(made):
    gauges, read = made
    gauges.show(topology(Phase.HOLDING, None), 1)
    assert not any(value for key, value in read().items() if key.startswith("seawall_proxy_primary"))


@pytest.mark.parametrize("watched", [None, untracked("nobody watches")])
def test_of_servers_that_nobody_watches_nothing_is_said(made, watched):
    gauges, read = made
    gauges.show(watched, 4)
    found = read()
    assert found["seawall_proxy_workers"] == 4
    assert not any("backend" in key or "primary" in key for key in found)


def test_what_happens_is_counted(made):
    gauges, read = made
    assert read()["seawall_proxy_worker_restarts_total"] == 0
    gauges.note(WorkerEnded(at=1.0, name="worker 0", number=0, status=-9))
    for outcome in ("done", "given up", "done"):
        gauges.note(
            FailoverEnded(
                at=2.0,
                name="cluster",
                kind="unplanned",
                outcome=outcome,
                old_primary="one",
                new_primary="two",
                took_s=1.5,
                held_s=1.0,
                replays=0,
                reason="down",
            )
        )
    changed = {"old_phase": "serving", "phase": "holding", "old_primary": "one", "primary": None}
    gauges.note(TopologyChanged(at=3.0, name="cluster", epoch=4, reason="down", **changed))
    found = read()
    assert found["seawall_proxy_worker_restarts_total"] == 1
    assert found['seawall_proxy_failovers_total{kind="unplanned",outcome="done"}'] == 2
    assert found['seawall_proxy_failovers_total{kind="unplanned",outcome="given_up"}'] == 1
    assert found['seawall_proxy_failover_duration_seconds_count{kind="unplanned"}'] == 3
    assert found['seawall_proxy_failover_duration_seconds_bucket{kind="unplanned",le="1.0"}'] == 0
    assert found['seawall_proxy_failover_duration_seconds_bucket{kind="unplanned",le="2.0"}'] == 3
    assert repr(gauges) == "Gauges(one, two, three)"
