"""The history checker: it finds what is planted, its faults bite, and the proxy survives forty of them."""

import random
import time
from collections import defaultdict

import pytest

from benchmarks.failing import audit, field, ledger, workloads
from benchmarks.failing.front import Options
from benchmarks.failing.load import Load
from benchmarks.failing.plan import KINDS, Chapter, forty, plan
from benchmarks.failing.records import (
    ACKNOWLEDGED,
    Append,
    Operation,
    Reading,
    Single,
    Ticket,
    Transfer,
    Verdict,
)
from benchmarks.failing.run import Play

SEED = 20
FORTY = 40
CHAPTERS_AT_MOST = 6


def operation(number, effect, outcome=ACKNOWLEDGED, *, committing=True):
    """A transaction that has ended."""
    return Operation(
        number, "client", "bank", effect, began=0.0, ended=1.0, outcome=outcome, committing=committing
    )


OPERATIONS = [
    operation(1, Transfer(source=1, target=2, amount=100)),
    operation(2, Append([(1, 1), (2, 1)], [Reading(1, 0, ()), Reading(2, 0, ())])),
    operation(3, Append([(1, 2)], [Reading(1, 1, (2,))])),
    operation(4, Ticket("tickets", 7, None)),
    operation(5, Ticket("slips", 3, None)),
    operation(6, Ticket("receipts", 9, "then")),
    operation(7, Single(5)),
    operation(8, Single(None)),
    operation(9, Transfer(source=3, target=4, amount=1), "40001"),
    operation(10, Transfer(source=3, target=4, amount=1), "08007"),
    operation(11, Append([(3, 1), (4, 1)], []), "08007"),
    operation(12, Transfer(source=3, target=4, amount=1), "lost", committing=False),
]
FOLLOWING = {"tickets": 8, "receipts": 10, "slips": 4, "singles": 7}


def truth():
    """What a server has after all that, if nothing is wrong; the transaction told 08007 has not happened."""
    found = audit.Found()
    found.sum = workloads.ACCOUNTS * workloads.BALANCE
    found.accounts = dict.fromkeys(range(1, workloads.ACCOUNTS + 1), workloads.BALANCE)
    found.accounts[1] -= 100
    found.accounts[2] += 100
    found.heads = {1: 2, 2: 1, 3: 0, 4: 0}
    facts = {
        1: [("transfers", 1, 2, 100)],
        2: [("entries", 1, 1), ("entries", 2, 1)],
        3: [("entries", 1, 2)],
        4: [("tickets", 7, "now"), ("lines", 7)],
        5: [("slips", 3, "now"), ("lines", 3)],
        6: [("receipts", 9, "then"), ("lines", 9)],
        7: [("singles", 5)],
        8: [("singles", 6)],
    }
    found.facts = defaultdict(list, facts)
    return found


def happened_after_all(found):
    """The two that were told 08007 did happen, whole."""
    found.facts[10] = [("transfers", 3, 4, 1)]
    found.accounts[3] -= 1
    found.accounts[4] += 1
    found.facts[11] = [("entries", 3, 1), ("entries", 4, 1)]
    found.heads |= {3: 1, 4: 1}


def test_the_audit_is_content_with_the_truth():
    found = truth()
    assert audit.audit(OPERATIONS, found, FOLLOWING) == []
    happened_after_all(found)
    assert audit.audit(OPERATIONS, found, FOLLOWING) == []


def set_row(number, *facts):
    """Give a transaction other rows."""

    def plant(found):
        found.facts[number] = list(facts)

    return plant


def set_balance(account, change):
    """Change a balance, and the sum unless the next account has the difference."""

    def plant(found):
        found.accounts[account] += change

    return plant


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (set_row(1), "acknowledged, but lost"),
        (set_row(1, ("transfers", 1, 2, 100), ("transfers", 1, 2, 100)), "not once"),
        (set_row(1, ("transfers", 1, 2, 99)), "not as it was told"),
        (set_row(2, ("entries", 1, 1)), "not as it was told"),
        (set_row(3, ("entries", 1, 3)), "list 1 ends at 2"),
        (set_row(4, ("tickets", 40, "now"), ("lines", 7)), "not as it was told"),
        (set_row(5, ("slips", 7, "now"), ("lines", 3)), "not as it was told"),
        (set_row(6, ("receipts", 9, "later"), ("lines", 9)), "not as it was told"),
        (set_row(7, ("singles", 6)), "drawn more than once"),
        (set_row(8), "acknowledged, but lost"),
        (set_row(9, ("transfers", 3, 4, 1)), "told 40001, but there"),
        (set_row(11, ("entries", 3, 1)), "in parts"),
        (set_row(12, ("transfers", 3, 4, 1)), "told lost, but there"),
        (set_row(13, ("singles", 1)), "nobody asked for"),
        (set_balance(5, 1), "balances differ"),
        (lambda found: found.heads.update({2: 2}), "list 2 ends at 2"),
        (lambda found: setattr(found, "sum", 0), "all accounts together"),
    ],
)
def test_the_audit_finds_what_is_planted(plant, said):
    found = truth()
    plant(found)
    violations = audit.audit(OPERATIONS, found, FOLLOWING)
    assert any(said in one.what for one in violations), violations


def test_the_audit_finds_a_reading_of_what_was_never_there():
    wrong = [*OPERATIONS[:2], operation(3, Append([(1, 2)], [Reading(1, 1, (99,))])), *OPERATIONS[3:]]
    assert [one.what for one in audit.audit(wrong, truth(), FOLLOWING)] == [
        "read what was never there; the list has [2]"
    ]


def test_the_audit_finds_a_sequence_that_draws_a_key_again():
    (violation,) = audit.audit(OPERATIONS, truth(), {**FOLLOWING, "tickets": 7})
    assert "draws 7 next" in violation.what


def test_a_key_that_is_refused_for_having_been_drawn_is_a_violation():
    (violation,) = audit.check([operation(1, Ticket("tickets", 7, None), "23505")], truth_without_rows())
    assert violation.what == "a key was drawn twice"


def test_a_commit_that_is_answered_with_rollback_out_of_the_blue_is_a_violation():
    (violation,) = audit.check([operation(1, Single(None), "rolled back")], truth_without_rows())
    assert "answered with ROLLBACK" in violation.what


def truth_without_rows():
    """A server that has nothing but its accounts."""
    found = truth()
    found.facts.clear()
    return found


@pytest.mark.parametrize(
    ("outcome", "committing", "verdict"),
    [
        (ACKNOWLEDGED, True, Verdict.THERE),
        ("40001", True, Verdict.ABSENT),
        ("40001", False, Verdict.ABSENT),
        ("lost", False, Verdict.ABSENT),
        ("57P01", False, Verdict.ABSENT),
        ("rolled back", True, Verdict.ABSENT),
        ("lost", True, Verdict.EITHER),
        ("08007", True, Verdict.EITHER),
        ("57P01", True, Verdict.EITHER),
    ],
)
def test_what_a_client_was_told_says_what_has_to_be_found(outcome, committing, verdict):
    assert operation(1, Single(None), outcome, committing=committing).verdict is verdict


def test_plans_are_told_again_by_their_seed_and_have_as_many_kills_as_are_wanted():
    one, other = (plan(300, random.Random("a seed")) for _ in range(2))
    assert one == other
    assert sum(chapter.kills for chapter in one) >= 300
    assert {kind.name for chapter in one for kind in chapter.kinds} == set(KINDS)
    for chapter in one:
        assert {(kind.relayed, kind.fences) for kind in chapter.kinds} == {(chapter.relayed, chapter.fences)}
    assert any(chapter.pin for chapter in one)
    assert not all(chapter.pin for chapter in one)


def test_runs_count_that_began_behind_the_last_violation():
    def record(ended_at, violations=()):
        return {"ended_at": ended_at, "duration_s": 10.0, "violations": list(violations)}

    before, beside, behind = record(15.0), record(25.0), record(40.0)
    broken, untimed = record(20.0, [{"what": "lost"}]), {"duration_s": 10.0, "violations": []}
    assert ledger.clean([before, behind]) == [before, behind]
    assert ledger.clean([behind, before, beside, broken, untimed]) == [behind]
    assert ledger.clean([untimed]) == []


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_undisturbed_clients_find_everything_as_they_were_told(cluster):
    made = cluster(settings=field.SETTINGS)
    primary = made.primary
    primary.execute(workloads.MAKE)
    load = Load(primary.port, "undisturbed")
    started = time.monotonic()
    load.start()
    while load.stuck(started):
        time.sleep(0.01)
    assert load.stop() == []
    operations = load.logbook.take()
    assert {one.workload for one in operations} == set(workloads.WORKLOADS)
    assert not load.logbook.violations
    assert audit.audit(operations, audit.fetch(primary, None), audit.following(primary)) == []
    assert audit.left_open(primary) == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_faults_bite_where_nothing_is_done_about_them(capsys):
    if not field.can_reset():
        pytest.skip("this kernel lets nobody reset connections")
    kinds = [KINDS[name] for name in ("terminate", "reset", "backend", "primary", "commit-lost")]
    with field.cluster() as made:
        play = Play(made, SEED, print, Options(watches=False, replay=False, promotes=False), tolerant=True)
        tally, number = play.tally, 1
        clean = play.chapter(Chapter(number, tuple(kinds), relayed=False, fences=True, pin=False))
        while clean and number < CHAPTERS_AT_MOST:  # a read must be under way in the very moment of a fault
            number += 1
            clean = play.chapter(Chapter(number, tuple(kinds), relayed=False, fences=True, pin=False))
        assert not clean
    hurt = sum(counted.total() - counted[ACKNOWLEDGED] for counted in tally.hit.values())
    with capsys.disabled():
        print(
            f"\nunprotected: {tally.total} kills, {hurt} transactions hurt, {tally.bystanders.total()} reads"
        )
    assert tally.total == number * sum(kind.bundle for kind in kinds)
    assert hurt >= 10
    assert tally.bystanders.total() >= 1
    # What was acknowledged is there all the same: the checker has nothing against a plain PostgreSQL.
    lies = ("acknowledged", "told", "in parts", "all accounts", "list", "keys", "balances")
    assert [one.what for one in tally.violations if one.what.startswith(lies)] == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_forty_kills_do_no_harm(capsys):
    lines = []
    started = time.monotonic()
    with field.cluster() as made:
        play = Play(made, SEED, lines.append)
        clean = play.chapter(forty(random.Random(f"{SEED} forty"), resets=field.can_reset()))
        while clean and play.tally.total < FORTY:  # a fault may find no victim
            clean = play.chapter(Chapter(2, (KINDS["terminate"],), relayed=False, fences=False, pin=True))
        release = made.engine.release
    tally = play.tally
    with capsys.disabled():
        print(
            f"\n{tally.total} kills ({tally.promoted} with promotion, {tally.at_commit} at COMMIT) of"
            f" PostgreSQL {release} in {time.monotonic() - started:.0f} s:"
            f" {sum(each.total() for each in tally.outcomes.values())} transactions, {tally.reads} reads"
        )
    assert clean, "\n".join(lines)
    assert tally.total >= FORTY
    assert tally.promoted > 0
    assert tally.at_commit > 0
    assert tally.bystanders.total() == 0
