from seawall import Breaker, guard

shop = guard("shop", breaker=Breaker(errors="5%", p95="500ms"), fallback=lambda _: "yesterday's price")


@shop
def price(day: int) -> str:
    if day > 3:
        raise ConnectionResetError("the shop does not answer")
    return f"the price of day {day}"


for day in range(1, 13):
    print(f"day {day}: {price(day)} ({shop.state.label})")
if why := shop.breaker.evidence:
    print("It opened because", why.explain())
