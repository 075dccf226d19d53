"""Policies from a file: every mistake named at once, contradictions found, changed while the program runs."""

from dataclasses import replace
from pathlib import Path

from seawall import PolicyError, guard, load_policies, parse_policies

policies = load_policies(Path(__file__).with_name("guards.toml"))

# A guard takes its policy whenever there is a new one; what its breaker knows is kept.
orders = guard("orders-db")
orders.reload(policies["orders-db"])
print(f"{orders.name} has a timeout of {orders.policy.timeout}")

for change in orders.reload(replace(policies["orders-db"], timeout="1s"), owner="me"):
    print(f"changed: {change.key} from {change.old} to {change.new}")

# Values that are fine one by one may contradict each other: `seawall explain guards.toml` says the same.
mail = guard("mail")
mail.reload(policies["mail"])
print("\nThe policy of mail has contradictions:")
for found in mail.explain().contradictions:
    print(f"- {' and '.join(found.keys)}: {found.problem}")

MISTAKES = """
[guards.orders-db]
timeuot = "2s"

[guards.orders-db.breaker]
errors = "500%"
p95 = "quick"
"""

print("\nA file with three mistakes:")
try:
    parse_policies(MISTAKES, "guards.toml")
except PolicyError as error:
    for problem in error.problems:
        print(f"- {problem.key} = {problem.value!r}{'; ' + problem.fix if problem.fix else ''}")
