"""What guards do, as metrics, span events and log lines: one call joins them."""

from opentelemetry import trace

from seawall import Breaker, Retry, guard
from seawall.resilience.system import HUB
from seawall.telemetry.exposition import Writer
from seawall.telemetry.metrics import Registry
from seawall.telemetry.subscribers import observe
from seawall.telemetry.tracing import Sampling, TracerProvider, span
from seawall.testing import VirtualClock

clock = VirtualClock()  # see 02: virtual time, so that the output is the same every day
bank = guard(
    "bank",
    breaker=Breaker(errors="5%", open_for="10s", probes=3),
    retry=Retry(attempts=2, base="100ms", jitter="none"),
    clock=clock,
    rng=lambda: 0.0,
)

registry = Registry()
provider = TracerProvider(sampling=Sampling(ratio=0.0))  # keeps errors, slow requests and breaker events only
trace.set_tracer_provider(provider)


class Printer:
    """Stands for a logger; without one, seawall.telemetry.logs writes the lines once it is configured."""

    def log(self, level: int, event: str, **values: object) -> None:
        print(f"{level}  {event}  {values}")


def refuse() -> None:
    raise ConnectionRefusedError("the bank is closed")


# By default guards announce what happens on this hub. Close the observation when the program ends.
with observe(HUB, registry=registry, guards=[bank], logger=Printer()) as observation:
    for number in range(1, 101):
        with span(f"request {number}"):
            bank.try_call(refuse)
    clock.advance(11.0)
    bank.try_call(int, "7")
    metrics = Writer(registry).write().decode()

print()
for sample in metrics.splitlines():
    if sample.startswith(("seawall_circuit_breaker_state", "seawall_circuit_breaker_fail", "seawall_guard_")):
        print(sample)

print()
kept = provider.lane.take(1_000)
print(f"{len(kept)} of 100 requests are kept, the first of them is {kept[0].name!r}:")
for event in kept[0].events:
    print(f"  {event.name}")

counts = observation.statistics()
print(f"\n{counts.signals} signals, {counts.offered} lines, {counts.dropped} of them dropped")
