"""What the servers have, against what the clients were told. Pure, but for ``fetch``.

A check after each fault looks at the transactions that have ended since the last one; the audit at the
end of a chapter at all of them, and at what only shows as a whole: sums, lists without gaps, keys that
were drawn twice, sequences that would draw a key again, rows that nobody has asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.failing.records import (
    ROLLED_BACK,
    Append,
    Operation,
    Single,
    Ticket,
    Transfer,
    Verdict,
    Violation,
)
from benchmarks.failing.workloads import ACCOUNTS, BALANCE
from seawall.embedded import Node

Fact = tuple[object, ...]
"""A row: its table, then its columns; ``None`` stands for whatever it may be."""

ROWS = """
SELECT 'transfers', number, source, target, amount, NULL FROM transfers{where}
UNION ALL SELECT 'entries', number, list, position, NULL, NULL FROM entries{where}
UNION ALL SELECT 'tickets', number, id, NULL, NULL, at::text FROM tickets{where}
UNION ALL SELECT 'receipts', number, id, NULL, NULL, at::text FROM receipts{where}
UNION ALL SELECT 'slips', number, id, NULL, NULL, at::text FROM slips{where}
UNION ALL SELECT 'lines', number, ticket, NULL, NULL, NULL FROM lines{where}
UNION ALL SELECT 'singles', number, id, NULL, NULL, NULL FROM singles{where}
UNION ALL SELECT 'sum', 0, sum(balance)::bigint, NULL, NULL, NULL FROM accounts
"""
WHOLE = """
UNION ALL SELECT 'accounts', id, balance, NULL, NULL, NULL FROM accounts
UNION ALL SELECT 'heads', list, position, NULL, NULL, NULL FROM heads
"""
NEXT = """
SELECT 'tickets', last_value + is_called::int FROM tickets_id_seq
UNION ALL SELECT 'receipts', last_value + is_called::int FROM receipts_id_seq
UNION ALL SELECT 'slips', last_value + is_called::int FROM slip_numbers
UNION ALL SELECT 'singles', last_value + is_called::int FROM singles_id_seq
"""
OPEN = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND client_port > 0"
    " AND xact_start < now() - interval '1 second'"
    " UNION ALL SELECT count(*) FROM pg_prepared_xacts"
)
KEYED = ("tickets", "receipts", "slips", "singles")
SHOWN = 20
"""Transactions whose history is shown with one violation that concerns many."""


@dataclass
class Found:
    """What one server has, at one moment.

    Attributes:
        facts: By the number of the transaction.
        sum: Of all balances.
        accounts: Balances; only of the whole.
        heads: Last positions; only of the whole.
    """

    facts: dict[int, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    sum: int = 0
    accounts: dict[int, int] = field(default_factory=dict)
    heads: dict[int, int] = field(default_factory=dict)

    def of(self, number: int) -> list[Fact]:
        """The rows of one transaction."""
        return sorted(self.facts.get(number, ()), key=str)


def fetch(node: Node, numbers: Sequence[int] | None) -> Found:
    """Ask a server, in one statement and so in one snapshot; ``None`` for all there is."""
    if numbers is None:
        sql = ROWS.format(where="") + WHOLE
    else:
        some = ",".join(map(str, numbers))
        sql = ROWS.format(where=f" WHERE number = ANY ('{{{some}}}')")
    found = Found()
    for table, number, first, second, third, at in node.execute(sql, timeout_s=60.0):
        key, value = int(number or 0), int(first or 0)
        if table == "sum":
            found.sum = value
        elif table == "accounts":
            found.accounts[key] = value
        elif table == "heads":
            found.heads[key] = value
        elif table == "transfers":
            found.facts[key].append((table, value, int(second or 0), int(third or 0)))
        elif table == "entries":
            found.facts[key].append((table, value, int(second or 0)))
        elif table in {"lines", "singles"}:
            found.facts[key].append((table, value))
        else:
            found.facts[key].append((table, value, at))
    return found


# --- one transaction -----------------------------------------------------------------------------------


def expected(operation: Operation) -> list[Fact]:
    """The rows of a transaction that happened."""
    effect = operation.effect
    facts: list[Fact] = []
    if isinstance(effect, Transfer):
        facts = [("transfers", effect.source, effect.target, effect.amount)]
    elif isinstance(effect, Append):
        facts = [("entries", *place) for place in effect.places]
    elif isinstance(effect, Ticket):
        facts = [(effect.table, effect.key, effect.at), ("lines", effect.key)]
    elif isinstance(effect, Single):
        facts = [("singles", effect.key)]
    return sorted(facts, key=str)


def alike(wanted: Sequence[Fact], facts: Sequence[Fact]) -> bool:
    """Whether rows are as wanted."""
    return len(wanted) == len(facts) and all(
        len(one) == len(other) and all(a is None or a == b for a, b in zip(one, other, strict=True))
        for one, other in zip(wanted, facts, strict=True)
    )


def judge(operation: Operation, facts: Sequence[Fact]) -> Violation | None:
    """Compare one transaction with its rows."""
    wanted = expected(operation)
    there = alike(wanted, facts)
    verdict = operation.verdict
    if operation.outcome == "23505":
        what = "a key was drawn twice"
    elif operation.outcome == ROLLED_BACK:
        what = "COMMIT was answered with ROLLBACK, and no error had been told"
    elif verdict is Verdict.THERE and not there:
        what = "acknowledged, but lost" if not facts else "acknowledged, but not as it was told, or not once"
    elif verdict is Verdict.ABSENT and facts:
        what = f"told {operation.outcome}, but there"
    elif verdict is Verdict.EITHER and facts and not there:
        what = "in parts, or more than once"
    else:
        return None
    return Violation(what, f"{operation.history()}\n  wanted: {wanted}\n  found:  {list(facts)}")


def check(operations: Iterable[Operation], found: Found) -> list[Violation]:
    """Compare some transactions, and the sum."""
    faults = [one for each in operations if (one := judge(each, found.of(each.number))) is not None]
    if found.sum != BALANCE * ACCOUNTS:
        faults.append(Violation(f"all accounts together have {found.sum}, not {BALANCE * ACCOUNTS}"))
    return faults


# --- the whole -----------------------------------------------------------------------------------------


def audit(operations: Sequence[Operation], found: Found, following: Mapping[str, int]) -> list[Violation]:
    """Compare everything.

    Args:
        operations: all there were since the tables were made; none is under way.
        found: all there is.
        following: which key each sequence draws next, by table.
    """
    faults = check(operations, found)
    known = {operation.number for operation in operations}
    uninvited = [(number, found.of(number)) for number in found.facts if number not in known]
    if uninvited:
        faults.append(
            Violation(f"{len(uninvited)} transactions that nobody asked for", str(uninvited[:SHOWN]))
        )
    happened = [one for one in operations if found.facts.get(one.number) or one.verdict is Verdict.THERE]
    faults += _balances(operations, found)
    faults += _lists(happened, found)
    faults += _keys(found, following)
    return faults


def _balances(operations: Sequence[Operation], found: Found) -> list[Violation]:
    wanted = dict.fromkeys(range(1, ACCOUNTS + 1), BALANCE)
    for facts in found.facts.values():
        for table, *columns in facts:
            if table == "transfers":
                source, target, amount = (int(str(column)) for column in columns)
                wanted[source] -= amount
                wanted[target] += amount
    wrong = {
        account: (balance, found.accounts.get(account))
        for account, balance in wanted.items()
        if found.accounts.get(account) != balance
    }
    if not wrong:
        return []
    concerned = [
        one
        for one in operations
        if isinstance(one.effect, Transfer) and {one.effect.source, one.effect.target} & wrong.keys()
    ]
    hit = [one for one in concerned if one.hit][:SHOWN]
    text = "\n".join(one.history() for one in hit)
    return [Violation(f"balances differ from the transfers (wanted, found): {wrong}", text)]


def _lists(happened: Sequence[Operation], found: Found) -> list[Violation]:
    lists: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, facts in found.facts.items():
        for table, *columns in facts:
            if table == "entries":
                one, position = (int(str(column)) for column in columns)
                lists[one][position].append(number)
    faults = []
    for one, last in found.heads.items():
        positions = lists[one]
        if sorted(positions) != list(range(1, last + 1)):
            gaps = sorted(set(range(1, last + 1)) ^ set(positions))
            faults.append(Violation(f"list {one} ends at {last} and differs at positions {gaps[:SHOWN]}"))
        twice = {position: numbers for position, numbers in positions.items() if len(numbers) > 1}
        if twice:
            faults.append(Violation(f"list {one} has more than one entry at a position: {twice}"))
    for operation in happened:
        if not isinstance(operation.effect, Append):
            continue
        for reading in operation.effect.readings:
            positions = lists[reading.list]
            begin = max(0, reading.position - len(reading.entries))
            present = [positions.get(at, [0])[0] for at in range(reading.position, begin, -1)]
            if tuple(present) != reading.entries:
                faults.append(
                    Violation(f"read what was never there; the list has {present}", operation.history())
                )
    return faults


def _keys(found: Found, following: Mapping[str, int]) -> list[Violation]:
    keys: dict[str, Counter[int]] = {table: Counter() for table in KEYED}
    for facts in found.facts.values():
        for fact in facts:
            if fact[0] in keys:
                keys[str(fact[0])][int(str(fact[1]))] += 1
    faults = []
    for table, drawn in keys.items():
        twice = {key: number for key, number in drawn.items() if number > 1}
        if twice:
            faults.append(Violation(f"keys of {table} that were drawn more than once: {twice}"))
        if drawn and table in following and following[table] <= max(drawn):
            faults.append(
                Violation(f"the sequence of {table} draws {following[table]} next, but {max(drawn)} is taken")
            )
    return faults


def following(node: Node) -> dict[str, int]:
    """Which key each sequence draws next, by table."""
    return {str(table): int(value or 0) for table, value in node.execute(NEXT)}


def left_open(node: Node) -> int:
    """Transactions of clients that are open, or prepared, though no client is there any more."""
    return sum(int(count or 0) for (count,) in node.execute(OPEN))


def same(one: Found, other: Found) -> bool:
    """Whether two servers have the same."""
    return (
        {number: sorted(facts, key=str) for number, facts in one.facts.items()}
        == {number: sorted(facts, key=str) for number, facts in other.facts.items()}
        and one.accounts == other.accounts
        and one.heads == other.heads
    )
