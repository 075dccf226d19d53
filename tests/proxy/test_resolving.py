"""What was learnt of a transaction is read, or nothing is; who ends a backend ends only that one."""

from dataclasses import replace

import pytest

from seawall.proxy.replay.journal import Journal
from seawall.proxy.replay.resolution import Sample
from seawall.proxy.resolving import Resolving, sample_of
from seawall.proxy.topology import NodeRole, NodeView, Phase, Topology
from seawall.wire.pgwire import messages

TOPOLOGY = Topology(1, Phase.SERVING, "a", False, 7, 3, (NodeView("a", NodeRole.PRIMARY, 3, 7, 5.0),))


def journal(row, *, early=False, topology=TOPOLOGY):
    made = Journal(1000, 10)
    made.sampled_at, made.sampled_early, made.topology = 10.0, early, topology
    made.sample = messages.data_row(row)[5:] if row is not None else b""
    return made


@pytest.mark.parametrize(
    ("row", "xid", "recovery"),
    [
        ([b"700", b"16/B374D848", None], 700, None),
        ([b"700", b"16/B374D848", b"0/28"], 700, 0x28),
        ([None, b"16/B374D848", None], None, None),
    ],
)
def test_an_answer_is_read(row, xid, recovery):
    assert sample_of(journal(row), "a") == Sample("a", 10.0, xid, 0x16B374D848, recovery, 3, 7)


@pytest.mark.parametrize(
    ("made", "node"),
    [
        (journal(None), "a"),
        (journal([b"700", b"0/1", None], topology=None), "a"),
        (journal([b"700", b"0/1", None]), "b"),
        (journal([b"700", None, None]), "a"),
        (journal([b"seven", b"0/1", None]), "a"),
        (journal([b"700", b"nowhere", None]), "a"),
        (journal([b"700", b"0/1"]), "a"),
        (journal([None, b"0/1", None], early=True), "a"),
        (journal([b"700", b"0/1", None], topology=replace(TOPOLOGY, nodes=())), "a"),
    ],
)
def test_what_makes_no_sense_is_no_answer(made, node):
    assert sample_of(made, node) is None


def test_only_a_backend_that_is_older_than_the_loss_is_ended():
    sql = Resolving.terminate_sql(4711, 1.25)
    assert "a.pid OPERATOR(pg_catalog.=) 4711" in sql
    assert "interval '1.250 s'" in sql
