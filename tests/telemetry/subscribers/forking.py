"""A program that observes, forks, and observes on both sides."""

import os
import warnings

from seawall.kernel.signals import BreakerForced, Hub
from seawall.telemetry.subscribers import observe

PARENT = os.getpid()


class Printer:
    """Says in whose process it is."""

    def log(self, level, event, **values):
        who = "parent" if os.getpid() == PARENT else "child"
        os.write(1, f"{who}: {event.split(': ')[1]}\n".encode())


def main():
    # A process with threads forks: that is what is tried here.
    warnings.simplefilter("ignore", DeprecationWarning)
    hub = Hub()
    observation = observe(hub, logger=Printer())

    def say(word):
        hub.publish(BreakerForced(at=1.0, name="db", mode="open", owner="al", reason=word, until=2.0))

    say("before")
    child = os.fork()
    if child == 0:
        say("child")
        observation.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    say("after")
    observation.close()


main()
