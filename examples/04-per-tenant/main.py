"""One guard, a breaker per tenant: who breaks his own storage does not take the others with him."""

from seawall import Breaker, BreakerOpen, guard

# At most 1000 tenants are kept; the one not seen for longest is forgotten first.
storage = guard("storage", breaker=Breaker(errors="20%"), keys_max=1000)


def save(tenant: str) -> str:
    def write() -> str:
        if tenant == "mallory":
            raise OSError("quota exceeded")
        return "saved"

    try:
        return storage.at(tenant).call(write)
    except BreakerOpen:
        return "rejected"
    except OSError as error:
        return str(error)


for tenant in ("alice", "mallory", "bob"):
    answers = [save(tenant) for _ in range(15)]
    counts = ", ".join(f"{answers.count(answer)} {answer}" for answer in dict.fromkeys(answers))
    print(f"{tenant}: {counts} -> {storage.at(tenant).state.label}")

keys = storage.statistics().keys
print(f"breakers kept: {keys.keys if keys else 0} of at most {keys.limit if keys else 0}")
