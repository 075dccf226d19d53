"""A real PostgreSQL cluster: its primary is killed, a replica takes over, the dead one comes back."""

from seawall.embedded import Cluster

with Cluster.create(replicas=2) as cluster:
    print(f"a PostgreSQL cluster of {len(cluster.nodes)}, the primary is {cluster.primary.name}")
    cluster.primary.execute("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    cluster.wait_caught_up()

    # A crash: no process of the server survives, nothing is shut down properly.
    old = cluster.primary
    old.kill()
    print(f"{old.name} was killed; it is running: {old.is_running}")

    # Nothing here decides who is next. You do, or the thing that you test.
    promotion = cluster.promote("pg2")
    print(f"{promotion.name} leads on timeline {promotion.timeline}, {promotion.following[0]} follows it")
    print("orders there:", cluster.primary.execute("SELECT count(*) FROM orders")[0][0])

    # The old primary comes back as a replica. What only it had would be undone.
    rejoin = cluster.rejoin(old.name)
    cluster.wait_caught_up()
    followers = [one.name for one in cluster.status() if one.sync_state]
    print(f"{rejoin.name} follows again: {rejoin.name in followers}")

    # A server that hangs is worse than one that is dead: its sockets stay open and say nothing.
    cluster.primary.pause()
    print("hangs:", [one.name for one in cluster.status() if one.paused])
    cluster.node("pg2").resume()
    print("goes on:", cluster.primary.execute("SELECT 'as if nothing had been'")[0][0])
