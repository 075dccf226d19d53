"""A lost COMMIT is resolved in no history of any cluster wrongly."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seawall.proxy.election import Memory, Policy, elect
from seawall.proxy.replay.resolution import Outcome, Sample, resolve, status_outcome
from seawall.proxy.topology import Observation, untracked

SYSTEM = 7
ASK, UNKNOWN = Outcome.ASK, Outcome.UNKNOWN
COMMITTED, NOT_COMMITTED = Outcome.COMMITTED, Outcome.NOT_COMMITTED

# --- a cluster whose truth is known -------------------------------------------------------------------------

RECORD = 10
"""Length of a record in the WAL; an LSN is the number of records before it, times this."""


@dataclass
class Server:
    """One server: its WAL as (kind, number, whose), and the life it is in."""

    name: str
    log: list = field(default_factory=lambda: [("start", 0, None)])
    flushed: int = 1
    up: bool = True
    in_recovery: bool = True
    timeline: int = 1
    end_of_recovery: int | None = None
    stats: int = 0
    life: int = 0
    live: dict = field(default_factory=dict)
    next_xid: int = 1

    @property
    def lsn(self):
        return RECORD * len(self.log)

    def write(self, kind, xid=0, whose=None):
        self.log.append((kind, xid, whose))

    def begin_life(self):
        self.up, self.live = True, {}
        self.life += 1
        self.next_xid = 1 + max(xid for _, xid, _ in self.log)

    def status(self, xid):
        if xid in self.live:
            return "in progress"
        if xid >= self.next_xid:
            return None
        return "committed" if any(one[:2] == ("commit", xid) for one in self.log) else "aborted"


@dataclass
class Transaction:
    """One that has been sampled; its client waits for the COMMIT."""

    number: int
    server: Server
    life: int
    sample: Sample


class Cluster:
    """Servers, their watch, and what a proxy makes of it."""

    def __init__(self, names="abc"):
        self.servers = {name: Server(name) for name in names}
        self.primary = self.servers[names[0]]
        self.primary.in_recovery = False
        self.timeline, self.now, self.numbers = 1, 0.0, 0
        self.memory, self.away, self.missed = Memory(), False, set()
        self.connected, self.seen = {}, {}
        self.topology = untracked("nothing seen")
        self.transactions = []
        self.look()

    def tick(self):
        self.now += 1.0
        return self.now

    # what happens to servers

    def begin(self):
        server = self.primary
        xid, server.next_xid = server.next_xid, server.next_xid + 1
        self.numbers += 1
        server.live[xid] = self.numbers
        server.write("data", xid, self.numbers)
        sample = Sample(
            server.name, self.tick(), xid, server.lsn, server.end_of_recovery, server.timeline, SYSTEM
        )
        transaction = Transaction(self.numbers, server, server.life, sample)
        self.transactions.append(transaction)
        return transaction

    def runs(self, transaction):
        server = transaction.server
        return server.up and server.life == transaction.life and transaction.sample.xid in server.live

    def commit(self, transaction, flush=True):
        """The server gets to the COMMIT, whether or not anybody waits for it still."""
        if self.runs(transaction):
            server = transaction.server
            server.write("commit", transaction.sample.xid, server.live.pop(transaction.sample.xid))
            if flush:
                server.flushed = len(server.log)

    def terminate(self, transaction):
        if self.runs(transaction):
            transaction.server.write("abort", transaction.sample.xid, transaction.number)
            del transaction.server.live[transaction.sample.xid]

    def replicate(self, replica):
        upstream = self.primary
        flushed = upstream.log[: upstream.flushed]
        if upstream.up and replica.up and replica.in_recovery and replica.log == flushed[: len(replica.log)]:
            replica.log, replica.timeline = flushed, upstream.timeline

    def end_life(self, server):
        """The watch, unless it is away, has seen every life of a server, and every role, before it ends."""
        if server.up and not self.away and self.seen.get(server.name) != (server.life, server.in_recovery):
            self.look()
        server.up = False
        if self.away:
            self.missed.add(server.name)

    def crash(self, server, survives=0):
        self.end_life(server)
        if not server.in_recovery:
            del server.log[max(server.flushed, len(server.log) - survives) :]
        server.clean = False

    def stop(self, server):
        self.end_life(server)
        for xid, whose in server.live.items():
            server.write("abort", xid, whose)
        if not server.in_recovery:
            server.write("shutdown")
            server.flushed = len(server.log)
        server.clean = True

    def start(self, server):
        server.begin_life()
        if server.in_recovery:
            return
        if server.clean:
            server.end_of_recovery = None
        else:
            server.end_of_recovery = server.lsn
            server.stats += 1
            server.write("checkpoint")
        server.flushed = len(server.log)

    def promote(self, replica, skip=0):
        self.timeline = replica.timeline = replica.timeline + 1 + skip
        replica.in_recovery = False
        replica.end_of_recovery = replica.lsn
        replica.next_xid = 1 + max(xid for _, xid, _ in replica.log)
        replica.write("promotion")
        replica.flushed = len(replica.log)
        self.primary = replica

    def rejoin(self, server):
        self.end_life(server)
        server.log = self.primary.log[: self.primary.flushed]
        server.in_recovery, server.timeline, server.end_of_recovery = True, self.primary.timeline, None
        server.flushed = len(server.log)
        server.begin_life()

    # what is seen of them

    def look(self):
        self.tick()
        looks = [self.observe(server) for server in self.servers.values()]
        self.topology, self.memory = elect(looks, self.memory, policy=Policy(multi_primary=False))

    def observe(self, server):
        unwatched_s = 60.0 if server.name in self.missed else 0.1
        if not server.up:
            return Observation(name=server.name, refused=True, unwatched_s=unwatched_s)
        if self.connected.get(server.name, (None,))[0] != server.life:
            self.missed.discard(server.name)
            self.connected[server.name] = (server.life, self.now)
        self.seen[server.name] = (server.life, server.in_recovery)
        return Observation(
            name=server.name,
            reachable=True,
            answered_at=self.now,
            in_recovery=server.in_recovery,
            timeline=server.timeline,
            system_identifier=SYSTEM,
            write_lsn=server.lsn,
            replay_lsn=server.lsn,
            end_of_recovery=None if server.in_recovery else server.end_of_recovery,
            connected_since=self.connected[server.name][1],
            unwatched_s=unwatched_s,
            stats_reset=str(server.stats),
        )

    # what a worker does

    def resolve(self, transaction):
        """As rescue does it; ``None``: nobody answers for the moment."""
        finding = resolve(transaction.sample, notifies=False, topology=self.topology)
        if finding.outcome is not ASK:
            return finding.outcome
        server = self.servers[finding.node]
        if not server.up:
            return None
        life = (server.in_recovery, server.timeline, server.end_of_recovery, str(server.stats))
        names = ("in_recovery", "timeline", "end_of_recovery", "stats_reset")
        if not finding.holds(**dict(zip(names, life, strict=True))):
            return None
        return status_outcome(server.status(transaction.sample.xid))

    def truth(self, transaction):
        committed = any(one[0] == "commit" and one[2] == transaction.number for one in self.primary.log)
        return COMMITTED if committed else NOT_COMMITTED


# --- single failures are resolved ---------------------------------------------------------------------------


@pytest.fixture(params=["clean", "crashed", "promoted"])
def cluster(request):
    """Three servers of which one is primary, after this or that past."""
    cluster = Cluster()
    if request.param == "crashed":
        cluster.crash(cluster.primary)
        cluster.start(cluster.primary)
    elif request.param == "promoted":
        cluster.crash(cluster.primary)
        cluster.promote(cluster.servers["b"])
        cluster.rejoin(cluster.servers["a"])
    cluster.look()
    return cluster


def follower(cluster):
    return next(
        one for one in cluster.servers.values() if one.in_recovery and one.timeline == cluster.timeline
    )


def reset(cluster):
    """The network between the worker and the server."""


def watch_reset(cluster):
    cluster.connected.pop(cluster.primary.name)


def crash_restart(cluster):
    cluster.crash(cluster.primary)
    cluster.look()
    cluster.start(cluster.primary)


def quick_crash_restart(cluster):
    cluster.crash(cluster.primary)
    cluster.start(cluster.primary)


def clean_restart(cluster):
    cluster.stop(cluster.primary)
    cluster.look()
    cluster.start(cluster.primary)


def failover(cluster):
    cluster.crash(cluster.primary)
    cluster.look()
    cluster.promote(follower(cluster))


def switchover(cluster):
    new = follower(cluster)
    old = cluster.primary
    cluster.stop(old)
    new.log = list(old.log)
    cluster.look()
    cluster.promote(new)
    cluster.look()
    cluster.rejoin(old)


@pytest.mark.parametrize(
    "failure",
    [reset, watch_reset, crash_restart, quick_crash_restart, clean_restart, failover, switchover],
)
@pytest.mark.parametrize("progress", ["nothing", "written", "committed", "flushed", "replicated"])
def test_a_single_failure_is_resolved(cluster, failure, progress):
    for one in cluster.servers.values():
        cluster.replicate(one)
    cluster.look()
    transaction = cluster.begin()
    if progress == "written":
        cluster.commit(cluster.begin(), flush=True)
    elif progress != "nothing":
        cluster.commit(transaction, flush=progress != "committed")
    if progress in {"written", "replicated"}:
        cluster.replicate(follower(cluster))
    failure(cluster)
    cluster.commit(cluster.begin())
    cluster.look()
    cluster.terminate(transaction)
    found = cluster.resolve(transaction)
    assert found is cluster.truth(transaction)
    assert found in {COMMITTED, NOT_COMMITTED}


def test_the_number_of_a_lost_transaction_is_used_again():
    """Without the table, the fault bites: the server says ``committed`` of another transaction."""
    cluster = Cluster()
    transaction = cluster.begin()
    cluster.commit(transaction, flush=False)
    failover(cluster)
    assert cluster.primary.status(transaction.sample.xid) is None
    cluster.commit(cluster.begin())
    assert cluster.primary.status(transaction.sample.xid) == "committed"
    cluster.look()
    assert cluster.truth(transaction) is cluster.resolve(transaction) is NOT_COMMITTED


# --- and any number of them is never resolved wrongly -------------------------------------------------------

NAMES = st.sampled_from("abc")


class Histories(RuleBasedStateMachine):
    """Crashes, restarts and promotions in any order, seen or missed."""

    def __init__(self):
        super().__init__()
        self.cluster = Cluster()

    @precondition(lambda self: self.cluster.primary.up)
    @rule(commits=st.booleans(), flush=st.booleans())
    def transact(self, commits, flush):
        transaction = self.cluster.begin()
        if commits:
            self.cluster.commit(transaction, flush)

    @rule(pick=st.integers(0, 9), flush=st.booleans())
    def commit(self, pick, flush):
        waiting = [one for one in self.cluster.transactions if self.cluster.runs(one)]
        if waiting:
            self.cluster.commit(waiting[pick % len(waiting)], flush)

    @rule(name=NAMES)
    def replicate(self, name):
        self.cluster.replicate(self.cluster.servers[name])

    @rule(name=NAMES, survives=st.integers(0, 3))
    def crash(self, name, survives):
        if self.cluster.servers[name].up:
            self.cluster.crash(self.cluster.servers[name], survives)

    @rule()
    def stop(self):
        if self.cluster.primary.up:
            self.cluster.stop(self.cluster.primary)

    @rule(name=NAMES)
    def start(self, name):
        cluster, server = self.cluster, self.cluster.servers[name]
        if not server.up:
            if not server.in_recovery and server is not cluster.primary:
                # A former primary: without having seen its successor, nobody could tell them apart.
                cluster.away = False
                cluster.look()
                if cluster.memory.timeline < cluster.timeline:
                    return
            cluster.start(server)

    @rule(survives=st.integers(0, 3))
    def restart(self, survives):
        if self.cluster.primary.up:
            self.cluster.crash(self.cluster.primary, survives)
            self.cluster.start(self.cluster.primary)

    @rule(name=NAMES, skip=st.sampled_from([0, 0, 0, 1]))
    def promote(self, name, skip):
        cluster, replica = self.cluster, self.cluster.servers[name]
        able = replica.up and replica.in_recovery and replica.timeline == cluster.timeline
        if able and not cluster.primary.up:
            cluster.promote(replica, skip)

    @rule(name=NAMES)
    def rejoin(self, name):
        server = self.cluster.servers[name]
        if server is not self.cluster.primary and self.cluster.primary.up:
            self.cluster.rejoin(server)

    @rule(away=st.booleans())
    def watch(self, away):
        self.cluster.away = away
        if not away:
            self.cluster.look()

    @precondition(lambda self: not self.cluster.away)
    @rule()
    def look(self):
        self.cluster.look()

    @precondition(lambda self: self.cluster.primary.up)
    @rule()
    def begin_to_watch_anew(self):
        """The supervisor has been replaced."""
        self.cluster.memory, self.cluster.connected, self.cluster.away = Memory(), {}, False
        self.cluster.look()

    @rule(name=NAMES)
    def lose_the_watch(self, name):
        self.cluster.connected.pop(name, None)

    @rule(pick=st.integers(0, 9))
    def terminate(self, pick):
        running = [one for one in self.cluster.transactions if self.cluster.runs(one)]
        if running:
            self.cluster.terminate(running[-1 - pick % len(running)])

    @invariant()
    def nothing_is_found_that_is_not_so(self):
        cluster = self.cluster
        for one in cluster.transactions[-20:] if cluster.primary.up else ():
            found = cluster.resolve(one)
            if found in {COMMITTED, NOT_COMMITTED}:
                assert found is cluster.truth(one)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
