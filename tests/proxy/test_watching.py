"""Which queries are remembered, with what, and that whoever looks on can spoil nothing."""

from types import SimpleNamespace

import pytest

from seawall.app.observation.records import digest, record_of
from seawall.proxy import client as client_module
from seawall.proxy import speech as speech_module
from seawall.proxy.observing import ERRORS_MAX, Watcher
from seawall.proxy.settings import PoolMode, ReplayMode
from seawall.proxy.sweep import INTERVAL_S, Sweeper
from seawall.proxy.watching import AT_ONCE_S, FACTS_MAX, FACTS_RESERVED, Watch
from seawall.proxy.worth import Worth
from seawall.wire.pgwire import messages
from tests.proxy.losing import LosingWorld, RescuingModel
from tests.proxy.test_client_relay import DATA, DONE, World

CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-{:016x}-01"
SLOW_S = 1.0
START_S = 1_000.0


class Commented(RescuingModel):
    """Has no eyes for comments."""

    def run(self, sql, *, simple):
        return super().run(sql.partition(" /*")[0], simple=simple)


def traced(sql, number=1):
    return f"{sql} /*traceparent='{CONTEXT.format(number)}'*/"


def bound(name, *, parsed=""):
    """A statement's batch, with its Parse if it is told the text."""
    parse = messages.parse(name, parsed) if parsed else b""
    rest = messages.bind("", name, []), messages.describe_portal(""), messages.execute(""), messages.sync()
    return parse + b"".join(rest)


class Watched:
    """A world with a clock of the test's whose facts the test takes."""

    def __init__(self, monkeypatch, world=None):
        self.world = world or World(chunk=1 << 16)
        self.now = START_S
        self.worker = self.world.worker
        self.worker.clock = lambda: self.now
        for module in (client_module, speech_module):
            monkeypatch.setattr(module, "CLOCK", lambda: self.now)
        self.worker.signals.now = START_S
        for end in self.world.ends:
            end.model = Commented()
        for client in self.world.clients:
            client.seen_at = 0.0
        self.worker.watch = Watch(SLOW_S, FACTS_MAX)
        self.sweeper = Sweeper(self.worker)

    def say(self, data, number=0):
        self.world.say(number, data)

    def begin(self, data, number=0):
        """Say something whose answer takes its time."""
        self.world.clients[number].data_received(data)

    def after(self, seconds):
        self.now += seconds

    def sweep(self):
        self.sweeper.sweep(self.now)

    @property
    def facts(self):
        return self.worker.watch.take()

    @property
    def contexts(self):
        """Of every fact the number of its trace's parent; nothing for those without."""
        found = [digest(record_of(fact, 0)).traceparent for fact in self.facts]
        return [int(one.split("-")[2], 16) if one else None for one in found]


@pytest.fixture
def watched(monkeypatch):
    return Watched(monkeypatch)


pytestmark = pytest.mark.interpreted


# --- whose text, whose trace --------------------------------------------------------------------------------


def test_what_is_neither_traced_nor_slow_nor_failed_is_forgotten(watched):
    watched.say(messages.query("rows 1"))
    watched.say(bound("", parsed="rows 1"))
    watched.say(bound("a", parsed="rows 1"))
    assert watched.facts == []
    assert watched.worker.watch.offered == 0


@pytest.mark.parametrize(
    "said",
    [
        messages.query(traced("rows 1")),
        messages.query(traced("rows 1") + ";"),
        bound("", parsed=traced("rows 1")),
        bound("a", parsed=traced("rows 1")),
        messages.sync() + messages.query(traced("rows 1")),
        bound("", parsed="rows 3") + bound("", parsed=traced("rows 1")) + bound("", parsed="rows 3"),
    ],
    ids=["simple", "with semicolon", "unnamed", "named", "behind a Sync", "pipelined"],
)
def test_a_trace_is_found_in_whatever_is_said(watched, said):
    for number in (0, 0, 1):
        watched.say(said, number)
        if b"a\0rows" in said:
            watched.say(messages.close_statement("a") + messages.sync(), number)
    assert watched.contexts == [1, 1, 1]


def test_a_prepared_statement_has_its_trace_each_time_it_is_run(watched):
    watched.say(messages.parse("a", traced("rows 1")) + messages.sync())
    assert watched.contexts == [1]
    for _ in range(2):
        watched.say(bound("a"))
    assert watched.contexts == [1, 1]


def test_a_prepared_statement_has_its_trace_on_every_server(watched):
    watched.say(messages.parse("a", traced("rows 1")) + messages.sync())
    watched.say(messages.query("begin"), 1)  # takes the server that knows it
    assert watched.contexts == [1]
    watched.say(bound("a"))
    watched.say(messages.query("commit"), 1)
    assert watched.contexts == [1]


def test_each_of_several_traces_has_its_own(watched):
    for number in (1, 2, 3):
        watched.say(bound("", parsed=traced("rows 1", number)))
    assert watched.contexts == [1, 2, 3]


@pytest.mark.parametrize("end", [DONE, b"f\0\0\0\7no\0"])
def test_a_copy_keeps_the_trace_of_its_statement(watched, end):
    watched.say(messages.query(traced("copyin")))
    watched.say(DATA * 3)
    watched.say(end)
    assert watched.contexts == [1]


def test_a_trace_goes_no_further_than_its_query(watched):
    watched.say(messages.query(traced("rows 1")))
    watched.say(messages.query("fail"))
    watched.say(messages.query("rows 1"))
    (first, second) = watched.facts
    assert (first.traced, second.traced) == (True, False)
    assert record_of(second, 0).sqlstate == "22012"


@pytest.mark.parametrize("mode", [ReplayMode.OFF, ReplayMode.ON])
def test_a_trace_ends_with_the_server_that_was_to_answer(monkeypatch, mode):
    watched = Watched(monkeypatch, LosingWorld(mode, chunk=1 << 16))
    client = watched.world.clients[0]
    watched.say(messages.query("begin"))
    watched.begin(messages.query(traced("insert")))
    assert client.worth.traced
    watched.world.lose(0)
    watched.say(messages.query("rollback"))
    # Where transactions are said again, so is the trace; else nobody has answered what it was about.
    assert watched.contexts == ([1] if mode is ReplayMode.ON else [])
    watched.say(messages.query("fail"))
    assert watched.contexts == [None]


# --- what is told of it -------------------------------------------------------------------------------------


def test_errors_are_told_with_their_code_and_text(watched):
    watched.say(messages.query("fail"))
    watched.say(bound("", parsed="bad"))
    simple, extended = (record_of(fact, 0) for fact in watched.facts)
    assert (simple.sqlstate, extended.sqlstate) == ("22012", "42601")


def test_slow_ones_are_found_by_the_sweeper(watched):
    for took_s in (SLOW_S - 2 * INTERVAL_S, SLOW_S):
        watched.begin(messages.query("rows 1"))
        watched.after(took_s - INTERVAL_S / 2)
        watched.sweep()
        watched.after(INTERVAL_S / 2)
        watched.world.pump()
    (fact,) = watched.facts
    assert fact.took_s == pytest.approx(SLOW_S)
    assert not fact.traced
    assert fact.error == b""


def test_one_that_the_sweeper_thought_slow_and_that_is_not_is_forgotten(watched):
    watched.begin(messages.query("rows 1"))
    watched.after(SLOW_S - INTERVAL_S / 2)
    watched.sweep()
    assert isinstance(watched.world.clients[0].worth, Worth)
    watched.world.pump()
    assert watched.facts == []
    assert watched.worker.watch.offered == 0


def test_time_in_the_queue_leads_the_first_query_and_is_told_once(monkeypatch):
    watched = Watched(monkeypatch, World(servers=1, chunk=1 << 16))
    watched.say(messages.query("begin"))
    watched.begin(messages.query(traced("begin")), 1)
    watched.after(2.5)
    watched.say(messages.query("rollback"))
    watched.after(0.5)
    watched.world.pump()
    watched.say(messages.query(traced("rows 1", 2)), 1)
    first, second = watched.facts
    assert (first.waited_s, first.lead_s) == (2.5, 2.5)
    assert (second.waited_s, second.lead_s) == (0.0, 0.0)


def test_time_in_the_queue_before_an_earlier_query_does_not_lead(monkeypatch):
    watched = Watched(monkeypatch, World(servers=1, chunk=1 << 16))
    watched.say(messages.query("begin"))
    watched.begin(messages.query("begin"), 1)
    watched.after(2.5)
    watched.say(messages.query("rollback"))
    watched.world.pump()
    watched.after(AT_ONCE_S * 2)
    watched.say(messages.query(traced("rows 1")), 1)
    (fact,) = watched.facts
    assert (fact.waited_s, fact.lead_s) == (2.5, 0.0)
    assert fact.idle_s == pytest.approx(AT_ONCE_S * 2)


def test_time_that_a_transaction_waits_for_its_client_is_told(watched):
    watched.say(messages.query("begin"))
    watched.after(3.0)
    watched.begin(messages.query(traced("rows 1")))
    watched.after(0.25)
    watched.begin(messages.query(traced("rows 1", 2)))  # before the first is answered: nobody waited
    watched.world.pump()
    watched.after(2.0)
    watched.say(messages.query(traced("rows 1", 3)))
    idle = [fact.idle_s for fact in watched.facts]
    assert idle == [0.0, 2.0]
    watched.say(messages.query("commit"))
    watched.say(messages.query(traced("rows 1")))
    assert [fact.idle_s for fact in watched.facts] == [0.0]


@pytest.mark.parametrize("mode", [PoolMode.SESSION, PoolMode.TRANSACTION])
def test_who_asks_whom_is_told(monkeypatch, mode):
    watched = Watched(monkeypatch, World(mode=mode, chunk=1 << 16))
    client = watched.world.clients[0]
    client.user, client.database = "ada", "shop"
    watched.say(messages.query("fail"))
    (fact,) = watched.facts
    assert (fact.user, fact.database, fact.backend, fact.client_pid) == ("ada", "shop", "model", client.pid)
    assert fact.ended_at == START_S


# --- bounds -------------------------------------------------------------------------------------------------


def test_between_two_sweeps_there_is_room_for_so_many_and_the_rest_is_counted(watched):
    for _ in range(FACTS_MAX):
        watched.say(messages.query(traced("rows 1")))
    watch = watched.worker.watch
    assert (watch.accepted, watch.dropped) == (FACTS_MAX - FACTS_RESERVED, FACTS_RESERVED)
    for _ in range(FACTS_MAX):
        watched.say(messages.query("fail"))
    assert (watch.accepted, watch.dropped) == (FACTS_MAX, FACTS_MAX)
    assert watch.offered == 2 * FACTS_MAX
    assert len(watched.facts) == FACTS_MAX
    watched.say(messages.query(traced("rows 1")))
    assert len(watched.facts) == 1


@pytest.mark.parametrize("limit", [0, 1, 2, 4])
def test_a_small_limit_holds(watched, limit):
    watched.worker.watch = Watch(SLOW_S, limit)
    for _ in range(6):
        watched.say(messages.query("fail"))
        watched.say(messages.query(traced("rows 1")))
    assert watched.worker.watch.offered == (12 if limit else 0)
    assert len(watched.facts) == limit


# --- whoever looks on ---------------------------------------------------------------------------------------


class Observer:
    """Raises as often as it is told to."""

    def __init__(self, worker, failures):
        self.worker, self.failures, self.calls, self.taken = worker, failures, 0, 0

    def swept(self, now):
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError("secret")
        self.taken += len(self.worker.watch.take())


def test_an_observer_that_raises_each_time_is_left_alone_and_queries_go_on(watched):
    observer = Observer(watched.worker, 10_000)
    notes = []
    watched.worker.note = notes.append
    watched.worker.watcher = Watcher(observer)
    for _ in range(3 * ERRORS_MAX):
        watched.say(messages.query("fail"))
        watched.sweep()
        assert len(watched.worker.watch.facts) <= FACTS_MAX
    assert observer.calls == ERRORS_MAX
    assert notes == ["telemetry has failed too often (RuntimeError) and is left alone"]
    watch = watched.worker.watch
    assert (watch.facts, watch.limit) == ([], 0)
    watched.say(messages.query(traced("rows 1")))
    assert watch.facts == []
    assert watched.world.heard(0)[-1] == ("Z", b"I")
    assert watched.worker.watcher.observer is None


def test_an_observer_that_raises_now_and_then_is_forgiven(watched):
    observer = Observer(watched.worker, ERRORS_MAX - 1)
    watched.worker.watcher = Watcher(observer)
    for _ in range(2 * ERRORS_MAX):
        watched.say(messages.query("fail"))
        watched.sweep()
    assert observer.taken == watched.worker.watch.accepted == 2 * ERRORS_MAX
    assert watched.worker.watcher.errors == ERRORS_MAX - 1


def test_where_nobody_looks_on_nothing_is_kept(watched):
    watched.worker.watch = Watch()
    watched.worker.watcher = Watcher()
    watched.say(messages.query(traced("fail")))
    watched.sweep()
    assert watched.worker.watch.offered == 0
    assert not watched.worker.watcher.sweep(0.0)


def test_a_watcher_tells_whether_its_observer_is_still_there():
    calls = []
    watcher = Watcher(SimpleNamespace(swept=calls.append))
    assert watcher.sweep(1.5)
    assert calls == [1.5]
