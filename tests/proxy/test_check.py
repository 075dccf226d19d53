import pytest

from seawall.proxy.check import (
    LOGINS_MAX,
    Facts,
    Login,
    Outcome,
    Report,
    Seen,
    Verdict,
    demand,
    judge,
    plan,
)
from seawall.proxy.settings import (
    Auth,
    AuthMethod,
    Backend,
    Database,
    Pooling,
    ProxySettings,
    Role,
    User,
)

ONE = Backend(name="one", host="h")
LOGIN = Login(user="bob", database="shop")


def settings(**changes) -> ProxySettings:
    users = changes.pop("users", ("bob",))
    databases = changes.pop("databases", ("shop",))
    values = {
        "backends": (ONE,),
        "auth": Auth(users={name: User(name=name, secret="x") for name in users}),
        "databases": {name: Database(name=name) for name in databases},
    }
    return ProxySettings(**(values | changes))


def facts(**changes) -> Facts:
    values = {
        "version_number": 160004,
        "version": "16.4",
        "in_recovery": False,
        "encoding": "UTF8",
        "max_connections": 100,
        "reserved": 3,
        "clock_offset_s": 0.001,
        "clock_error_s": 0.002,
        "system_identifier": "7",
        "timeline": 1,
        "replicas": 0,
    }
    return Facts(**(values | changes))


def seen(backend: Backend = ONE, found: Facts | None = None, **changes) -> Seen:
    values = {
        "backend": backend,
        "addresses": ("10.0.0.1",),
        "connect_s": 0.001,
        "outcomes": (Outcome(LOGIN),),
    }
    return Seen(**(values | {"facts": found or facts()} | changes))


def verdicts(report: Report, check: str) -> list[tuple[Verdict, str]]:
    findings = [finding for judged in report.backends for finding in judged.findings]
    return [(item.verdict, item.text) for item in findings if item.check == check]


def only(report: Report, check: str) -> tuple[Verdict, str]:
    (found,) = verdicts(report, check)
    return found


def test_a_server_as_it_should_be_is_all_right() -> None:
    report = judge(settings(), [seen()])
    assert report.ok
    assert {finding.verdict for finding in report.backends[0].findings} == {Verdict.OK}
    checks = [finding.check for finding in report.backends[0].findings]
    assert checks == [
        "dns",
        "connect",
        "login",
        "version",
        "role",
        "encoding",
        "connections",
        "clock",
        "replication",
    ]
    assert report.together == ()


def test_every_user_logs_in_to_every_database() -> None:
    (found,) = plan(settings(users=("a", "b"), databases=("x", "y")))
    assert [(item.user, item.database, item.secret) for item in found.logins] == [
        ("a", "x", "x"),
        ("b", "x", "x"),
        ("a", "y", "x"),
        ("b", "y", "x"),
    ]
    assert not any(item.optional or item.guessed for item in found.logins)


def test_a_login_is_that_of_the_server_side() -> None:
    shop = Database(name="shop", server_name="shop_v2", server_user="keeper", server_secret="k")
    auth = Auth(users={name: User(name=name, secret="x") for name in ("a", "b")})
    (found,) = plan(ProxySettings(backends=(ONE,), auth=auth, databases={"shop": shop}))
    assert found.logins == (Login(user="keeper", database="shop_v2", secret="k"),)


def test_a_users_own_secret_for_servers_goes_first() -> None:
    users = {"a": User(name="a", secret="SCRAM-SHA-256$x", server_secret="plain")}
    (found,) = plan(settings(auth=Auth(users=users)))
    assert found.logins[0].secret == "plain"
    assert "plain" not in repr(found)


def test_without_names_the_usual_ones_are_tried() -> None:
    (found,) = plan(settings(auth=Auth(trust_loopback=True), databases=("*",)))
    assert found.logins == (Login(user="postgres", database="postgres", optional=True, guessed=True),)


def test_users_of_the_proxy_itself_need_not_exist_on_servers() -> None:
    auth = Auth(users={"ops": User(name="ops", secret="x")}, stats_users=frozenset({"ops"}))
    (found,) = plan(settings(auth=auth))
    assert found.logins[0].optional
    refused = Outcome(found.logins[0], "no role", "28000")
    verdict, text = only(judge(settings(), [seen(outcomes=(refused,))]), "login")
    assert verdict is Verdict.WARNING
    assert "admin database" in text


def test_logins_have_an_end() -> None:
    (found,) = plan(settings(users=[f"u{number}" for number in range(LOGINS_MAX + 6)]))
    assert (len(found.logins), found.left_out) == (LOGINS_MAX, 6)
    report = judge(settings(), [seen(left_out=6)])
    assert (Verdict.WARNING, "6 more not tried") in verdicts(report, "login")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (20, True)),
        ({"users": ("a", "b"), "databases": ("x", "y", "z")}, (120, True)),
        ({"databases": ("*",)}, (20, False)),
        ({"auth": Auth(trust_loopback=True)}, (20, False)),
        ({"auth": Auth(method=AuthMethod.TRUST)}, (20, False)),
        ({"pooling": Pooling(size=5, reserve_size=2)}, (7, True)),
        ({"users": ("a", "b"), "pooling": Pooling(max_db_connections=30)}, (30, True)),
        ({"databases": ("x", "y"), "pooling": Pooling(max_user_connections=25)}, (25, True)),
        ({"auth": Auth(users={"a": User(name="a", pool_size=3)})}, (3, True)),
    ],
)
def test_what_the_pools_may_open(changes: dict, expected: tuple[int, bool]) -> None:
    assert demand(settings(**changes)) == expected


def test_a_databases_own_limits_count() -> None:
    shop = Database(name="shop", pool_size=50, max_connections=60)
    auth = Auth(users={name: User(name=name) for name in ("a", "b")})
    assert demand(ProxySettings(backends=(ONE,), auth=auth, databases={"shop": shop})) == (60, True)


@pytest.mark.parametrize(
    ("number", "verdict"),
    [(130016, Verdict.FAILED), (140000, Verdict.OK), (180004, Verdict.OK), (190000, Verdict.FAILED)],
)
def test_versions_14_to_18_are_supported(number: int, verdict: Verdict) -> None:
    report = judge(settings(), [seen(found=facts(version_number=number, version=str(number)))])
    assert only(report, "version")[0] is verdict
    assert report.ok is (verdict is Verdict.OK)


@pytest.mark.parametrize(
    ("role", "in_recovery", "verdict"),
    [
        (Role.AUTO, True, Verdict.OK),
        (Role.AUTO, False, Verdict.OK),
        (Role.PRIMARY, False, Verdict.OK),
        (Role.PRIMARY, True, Verdict.FAILED),
        (Role.REPLICA, True, Verdict.OK),
        (Role.REPLICA, False, Verdict.FAILED),
    ],
)
def test_a_role_has_to_be_the_servers(role: Role, in_recovery: bool, verdict: Verdict) -> None:
    backend = Backend(name="one", host="h", role=role)
    report = judge(settings(), [seen(backend, facts(in_recovery=in_recovery, receiving=True))])
    assert only(report, "role")[0] is verdict


@pytest.mark.parametrize(
    ("changes", "check", "hint"),
    [
        ({"encoding": "SQL_ASCII"}, "encoding", "converts nothing"),
        ({"max_connections": 22}, "connections", "the pools may open 20, the server takes 19"),
        ({"clock_offset_s": 5.0}, "clock", "5s ahead of"),
        ({"clock_offset_s": -5.0}, "clock", "5s behind"),
        ({"in_recovery": True}, "replication", "streams from nobody"),
        ({"in_recovery": True, "receiving": True, "replay_lag_s": 60.0}, "replication", "1m behind"),
    ],
)
def test_what_is_odd_is_a_warning(changes: dict, check: str, hint: str) -> None:
    others = [seen(Backend(name="two", host="h"))] if "in_recovery" in changes else []
    report = judge(settings(), [seen(found=facts(**changes)), *others])
    found = [text for verdict, text in verdicts(report, check) if verdict is Verdict.WARNING]
    assert [text for text in found if hint in text]
    assert report.ok
    assert report.backends[0].verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"max_connections": 23}, "connections"),
        ({"clock_offset_s": 5.0, "clock_error_s": 4.5}, "clock"),
        ({"in_recovery": True, "receiving": True, "replay_lag_s": -1.0}, "replication"),
        ({"replicas": -1}, "replication"),
    ],
)
def test_what_is_at_the_limit_is_not(changes: dict, check: str) -> None:
    report = judge(settings(), [seen(found=facts(**changes))])
    assert only(report, check)[0] is Verdict.OK


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"lookup_problem": "unknown", "facts": None}, "dns"),
        ({"connect_problem": "refused", "facts": None}, "connect"),
        ({"outcomes": (Outcome(LOGIN, "no", "28P01"),), "facts": None}, "login"),
        ({"facts_problem": "gone", "facts": None}, "facts"),
    ],
)
def test_what_cannot_be_reached_has_failed(changes: dict, check: str) -> None:
    report = judge(settings(), [seen(**changes)])
    assert report.backends[0].findings[-1].check == check
    assert report.backends[0].verdict is Verdict.FAILED
    assert not report.ok


def test_a_closed_database_that_nobody_named_is_a_warning() -> None:
    login = Login(user="bob", database="postgres", guessed=True)
    closed = judge(settings(), [seen(outcomes=(Outcome(login, "closed", "42501"),))])
    assert only(closed, "login")[0] is Verdict.WARNING
    wrong = judge(settings(), [seen(outcomes=(Outcome(login, "wrong password", "28P01"),))])
    assert only(wrong, "login")[0] is Verdict.FAILED


def test_a_guessed_login_that_is_refused_is_a_warning() -> None:
    login = Login(user="postgres", database="shop", optional=True)
    report = judge(settings(), [seen(outcomes=(Outcome(login, "no", "28000"),), facts=None)])
    verdict, text = only(report, "login")
    assert verdict is Verdict.WARNING
    assert "guess" in text
    assert report.ok


def test_a_login_that_was_skipped_is_a_warning() -> None:
    report = judge(settings(), [seen(outcomes=(Outcome(LOGIN, "only a verifier", skipped=True),))])
    assert only(report, "login") == (Verdict.WARNING, "bob to shop not tried: only a verifier")


def test_some_server_has_to_take_writes() -> None:
    report = judge(settings(), [seen(found=facts(in_recovery=True, receiving=True))])
    assert [finding.check for finding in report.together] == ["primary"]
    assert not report.ok


def test_two_primaries_of_one_cluster_have_failed() -> None:
    two = seen(Backend(name="two", host="h"))
    report = judge(settings(), [seen(), two])
    assert "one and two are one cluster" in report.together[0].text
    assert not report.ok


def test_primaries_with_different_data_are_a_warning() -> None:
    two = seen(Backend(name="two", host="h"), facts(system_identifier="8"))
    report = judge(settings(), [seen(), two])
    assert [(item.check, item.verdict) for item in report.together] == [("clusters", Verdict.WARNING)]
    assert report.ok


def test_encodings_that_differ_are_a_warning() -> None:
    two = seen(Backend(name="two", host="h"), facts(system_identifier="", encoding="LATIN1"))
    report = judge(settings(), [seen(), two])
    assert [item.check for item in report.together] == ["encoding"]
    assert "LATIN1, UTF8" in report.together[0].text
