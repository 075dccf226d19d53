"""Names go back to what they meant when a transaction is said again."""

from seawall.proxy.replay.journal import Journal
from seawall.wire.pgwire import messages
from tests.proxy.test_client_relay import World


def prepared(world, name, sql):
    world.say(0, messages.parse(name, sql) + messages.sync())


def test_names_are_those_of_before():
    world = World(clients=1)
    client = world.clients[0]
    prepared(world, "kept", "rows 1")
    before, size = dict(client.statements), client.prepared_bytes
    world.say(0, messages.query("begin"))
    journal = client.journal
    prepared(world, "new", "rows 3")
    world.say(0, messages.close_statement("kept") + messages.sync())
    assert set(client.statements) == {b"new"}
    client.restore(journal)
    assert (client.statements, client.prepared_bytes) == (before, size)


def test_the_unnamed_statement_is_that_of_before():
    world = World(clients=1)
    client = world.clients[0]
    journal = Journal(100, 10)
    journal.unnamed = messages.parse("", "COMMIT")
    client.restore(journal)
    assert client.unnamed == journal.unnamed
