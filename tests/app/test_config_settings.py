"""Every key of the sections that the data plane is told of, and the settings that come of it."""

from seawall.proxy.settings import (
    AuthMethod,
    Authority,
    Backend,
    Database,
    Failover,
    Listen,
    Pooling,
    PoolMode,
    PreAuthentication,
    Replay,
    ReplayMode,
    Role,
    Timeouts,
    User,
)
from tests.app.minimal import load


def test_where_clients_connect() -> None:
    settings = load("""
        [proxy]
        listen_address = ["0.0.0.0:6432", "[::1]:6433"]
        unix_directory = "/run/seawall"
        workers = 3
        busy_poll = "10ms"
        admin_database = "proxy"
        runtime_directory = "/run/workers"
        """).settings
    assert settings.listen == (
        Listen(host="0.0.0.0", port=6432),
        Listen(host="::1", port=6433),
        Listen(host="", port=6432, unix_directory="/run/seawall"),
    )
    assert (settings.workers, settings.busy_poll_s, settings.admin_database) == (3, 0.01, "proxy")
    assert settings.runtime_directory == "/run/workers"


def test_a_unix_socket_alone_has_the_usual_port() -> None:
    settings = load('[proxy]\nlisten_address = []\nunix_directory = "/run/seawall"').settings
    assert settings.listen == (Listen(host="", port=6432, unix_directory="/run/seawall"),)


def test_who_may_come_in() -> None:
    auth = load("""
        [auth]
        method = "md5"
        admin_users = ["root", "bob"]
        stats_users = ["bob"]
        trust_loopback = true
        [[auth.users]]
        name = "root"
        password = "a"
        server_password = "b"
        pool_mode = "session"
        pool_size = 4
        max_client_connections = 9
        replay = "shadow"
        """).settings.auth
    assert auth.method is AuthMethod.MD5
    assert (auth.admin_users, auth.stats_users) == ({"root", "bob"}, {"bob"})
    assert auth.trust_loopback
    assert auth.users["root"] == User(
        name="root",
        secret="a",
        server_secret="b",
        pool_mode=PoolMode.SESSION,
        pool_size=4,
        max_client_connections=9,
        replay=ReplayMode.SHADOW,
    )


def test_databases() -> None:
    assert load("""
        [[databases]]
        name = "shop"
        server_name = "shop_v2"
        server_user = "shopkeeper"
        server_password = "c"
        pool_mode = "statement"
        pool_size = 7
        max_connections = 70
        replay = "off"
        """).settings.databases == {
        "shop": Database(
            name="shop",
            server_name="shop_v2",
            server_user="shopkeeper",
            server_secret="c",
            pool_mode=PoolMode.STATEMENT,
            pool_size=7,
            max_connections=70,
            replay=ReplayMode.OFF,
        )
    }


def test_pools() -> None:
    assert load("""
        [pool]
        mode = "session"
        size = 50
        min_size = 5
        reserve_size = 6
        reserve_after = "1s"
        max_client_connections = 500
        max_db_connections = 80
        max_user_connections = 90
        queue_limit = 11
        queue_timeout = "2s"
        server_lifetime = "3m"
        server_idle_timeout = "4m"
        max_prepared_statements = 12
        statements_per_client = 13
        ignore_startup_parameters = ["extra_float_digits"]
        """).settings.pooling == Pooling(
        mode=PoolMode.SESSION,
        size=50,
        min_size=5,
        reserve_size=6,
        reserve_after_s=1.0,
        max_client_connections=500,
        max_db_connections=80,
        max_user_connections=90,
        queue_limit=11,
        queue_timeout_s=2.0,
        server_lifetime_s=180.0,
        server_idle_timeout_s=240.0,
        max_prepared_statements=12,
        statements_per_client=13,
        ignore_startup_parameters=("extra_float_digits",),
    )


def test_timeouts() -> None:
    assert load("""
        [timeouts]
        connect = "1s"
        login = "2s"
        unavailable = "10ms"
        query = "3s"
        idle_in_transaction = "4s"
        transaction = "5s"
        client_idle = "6s"
        drain = "7s"
        dns_refresh = "8s"
        user_timeout = "9s"
        """).settings.timeouts == Timeouts(
        connect_s=1.0,
        login_s=2.0,
        unavailable_s=0.01,
        query_s=3.0,
        idle_in_transaction_s=4.0,
        transaction_s=5.0,
        client_idle_s=6.0,
        drain_s=7.0,
        dns_refresh_s=8.0,
        user_timeout_s=9.0,
    )


def test_limits() -> None:
    limits = load(
        "[limits]\nstartup_bytes = 1000\nconnections_per_address = 10\nconnections = 20"
    ).settings.limits
    assert limits == PreAuthentication(startup_bytes=1000, connections_per_address=10, connections=20)


def test_servers() -> None:
    assert load("""
        [[backends.instances]]
        name = "two"
        host = "/run/postgresql"
        port = 5433
        role = "replica"
        priority = 50
        weight = 0.5
        zone = "a"
        region = "eu"
        allowed_query_types = ["SELECT"]
        max_connections = 33
        circuit_breaker_failure_threshold = "3%"
        """).settings.backends[0] == Backend(
        name="two",
        host="/run/postgresql",
        port=5433,
        role=Role.REPLICA,
        priority=50,
        weight=0.5,
        zone="a",
        region="eu",
        allowed_query_types=("SELECT",),
        max_connections=33,
        extra={"circuit_breaker_failure_threshold": 3.0},
    )


def test_who_follows_and_who_promotes() -> None:
    loaded = load("""
        [failover]
        enabled = true
        authority = "self"
        topology = "single-primary"
        user = "seawall"
        password = "d"
        database = "app"
        probe_interval = "200ms"
        probe_timeout = "300ms"
        down_after = "2s"
        hold_requests = 7
        allow_loss = true
        sole_proxy = true
        fence_command = ["fence", "{node}", "{node}"]
        promote_command = ["promote", "{host}:{port}"]
        repoint_command = ["repoint", "{node}", "{primary}"]
        rejoin_command = ["rejoin"]
        switchover_timeout = "20s"
        replay_window = "3s"
        [[backends.instances]]
        name = "two"
        host = "db2.internal"
        """)
    assert loaded.warnings == loaded.notices == ()
    assert loaded.settings.failover == Failover(
        enabled=True,
        authority=Authority.SELF,
        topology="single-primary",
        user="seawall",
        secret="d",
        database="app",
        probe_interval_s=0.2,
        probe_timeout_s=0.3,
        down_after_s=2.0,
        hold_requests=7,
        allow_loss=True,
        sole_proxy=True,
        fence_command=("fence", "{node}", "{node}"),
        promote_command=("promote", "{host}:{port}"),
        repoint_command=("repoint", "{node}", "{primary}"),
        rejoin_command=("rejoin",),
        switchover_timeout_s=20.0,
        replay_window_s=3.0,
    )


def test_whom_to_follow() -> None:
    assert load("""
        [failover]
        patroni = ["http://db1:8008/", "http://db2:8008"]
        """).settings.failover == Failover(patroni=("http://db1:8008", "http://db2:8008"))
    assert load("""
        [failover]
        enabled = false
        witnesses = ["proxy2:6432", "[::1]:6432"]
        """).settings.failover == Failover(enabled=False, witnesses=("proxy2:6432", "[::1]:6432"))


def test_what_is_said_again() -> None:
    assert load("""
        [failover]
        authority = "self"
        allow_loss = true
        sole_proxy = true
        fence_command = ["x"]
        [replay]
        mode = "on"
        retry_reads = false
        resolve_commits = false
        pin_sequences = true
        statements_max = 5
        journal_bytes = 6000
        age = "7s"
        require_sync = true
        allow_foreign = true
        """).settings.replay == Replay(
        mode=ReplayMode.ON,
        retry_reads=False,
        resolve_commits=False,
        pin_sequences=True,
        statements_max=5,
        journal_bytes=6000,
        age_s=7.0,
        require_sync=True,
        allow_foreign=True,
    )
