"""Tokens, roles, addresses: who is let in, and what is refused before anybody can ask."""

import hmac

import pytest

from seawall.kernel.errors import PolicyError
from seawall.telemetry.serving import access as module
from seawall.telemetry.serving.access import (
    TOKENS_MAX,
    Access,
    Binding,
    Caller,
    Role,
    Tls,
    Token,
    is_loopback,
    names_this_machine,
)
from tests.telemetry.serving.serving import OPERATOR, TOKENS, VIEWER


@pytest.mark.parametrize(
    ("header", "caller"),
    [
        (f"Bearer {VIEWER}", Caller("vera", Role.VIEWER)),
        (f"bearer  {OPERATOR} ", Caller("otto", Role.OPERATOR)),
        (None, None),
        ("Bearer wrong-token-0123456789", None),
        (f"Basic {VIEWER}", None),
        (VIEWER, None),
        ("Bearer", None),
        ("", None),
        (f"Bearer {VIEWER}, Bearer {OPERATOR}", None),
        ("Bearer \udcff", None),
    ],
)
def test_who_a_header_is(header, caller) -> None:
    assert Access(tokens=TOKENS).identify(header) == caller


def test_without_tokens_everybody_is_anonymous_and_a_wrong_token_is_still_wrong() -> None:
    assert Access().identify(None) == Caller("anonymous", Role.VIEWER)
    assert Access().identify(f"Bearer {VIEWER}") is None


def test_tokens_may_stand_beside_open_reading() -> None:
    access = Access(tokens=TOKENS, allow_unauthenticated=True)
    assert access.identify(None) == Caller("anonymous", Role.VIEWER)
    assert access.identify(f"Bearer {OPERATOR}") == Caller("otto", Role.OPERATOR)


@pytest.mark.parametrize("presented", ["vera", "first", "nobody"])
def test_every_token_is_compared_in_constant_time_wherever_the_right_one_stands(
    monkeypatch, presented
) -> None:
    compared = []

    def spy(left, right):
        compared.append((left, right))
        return hmac_compare(left, right)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", spy)
    text = {"vera": VIEWER, "first": OPERATOR, "nobody": "x" * 4_000}[presented]
    Access(tokens=TOKENS).identify(f"Bearer {text}")
    assert [left for left, _ in compared] == [token.digest for token in TOKENS]
    assert {len(right) for _, right in compared} == {32}  # digests: no length is told either


def test_no_token_is_shown() -> None:
    assert VIEWER not in repr(Access(tokens=TOKENS))
    assert "digest" not in repr(TOKENS[0])


@pytest.mark.parametrize("text", ["short", "x" * 5_000, "with space 0123456789", "umlaut-ä-0123456789", ""])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused_without_telling_it(text) -> None:
    with pytest.raises(PolicyError, match=r"tokens\.vera .*secrets\.token_urlsafe") as caught:
        Token.of("vera", Role.VIEWER, text)
    assert not text or text not in str(caught.value)


def test_a_token_from_a_file(tmp_path) -> None:
    path = tmp_path / "token"
    path.write_text(VIEWER + "\n")
    assert Token.from_file("vera", Role.VIEWER, path) == Token.of("vera", Role.VIEWER, VIEWER)


@pytest.mark.parametrize("content", [b"\xff\xfe" * 20, b"two-lines-0123456789\nmore-0123456789\n", b"", None])
def test_a_file_without_a_token_is_refused_without_telling_its_content(tmp_path, content) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PolicyError, match=r"tokens\.vera") as caught:
        Token.from_file("vera", Role.VIEWER, path)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("LocalHost", True),
        ("localhost.localdomain", False),
        ("ip6-localhost", False),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback(host, loopback) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "node-1.internal"])
def test_an_open_address_without_authentication_is_refused_with_key_and_fix(host) -> None:
    (problem,) = Binding(key="telemetry.status", port=8080, host=host).problems()
    assert (problem.key, problem.value) == ("telemetry.status.host", host)
    assert "telemetry.status.allow_unauthenticated = true" in problem.fix
    assert "telemetry.status.tokens" in problem.fix


@pytest.mark.parametrize(
    "how",
    [
        {"access": Access(tokens=TOKENS)},
        {"access": Access(allow_unauthenticated=True)},
        {"tls": Tls(certificate="c", key="k", client_ca="ca")},
    ],
    ids=["tokens", "said so", "client certificates"],
)
def test_an_open_address_is_accepted_if(how) -> None:
    assert Binding(key="k", port=8080, host="0.0.0.0", **how).problems() == []


def test_encryption_alone_authenticates_nobody() -> None:
    assert Binding(key="k", port=8080, host="0.0.0.0", tls=Tls(certificate="c", key="k")).problems()


def test_strangers_never_give_orders_on_an_open_address() -> None:
    access = Access(allow_unauthenticated=True, anonymous=Role.ADMIN)
    (problem,) = Binding(key="k", port=1, host="0.0.0.0", access=access).problems()
    assert problem.key == "k.anonymous"
    assert Binding(key="k", port=1, access=access).problems() == []


def test_all_mistakes_are_named_at_once() -> None:
    access = Access(tokens=(TOKENS[0],) * (TOKENS_MAX + 1))
    keys = [problem.key for problem in Binding(key="k", port=70_000, access=access).problems()]
    assert keys == ["k.port", "k.tokens", "k.tokens"]


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("::1", True),
        ("localhost", True),
        ("localhost:8080", True),
        ("10.0.0.7", True),
        ("evil.example:8080", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_names_of_this_machine(host, ours) -> None:
    assert names_this_machine(host) is ours


def test_files_for_tls_that_are_not_there_are_named(tmp_path) -> None:
    (tmp_path / "rubbish.pem").write_text("rubbish")
    tls = Tls(certificate=str(tmp_path / "none.pem"), key="none", client_ca=str(tmp_path / "rubbish.pem"))
    with pytest.raises(PolicyError) as caught:
        tls.context("telemetry.status")
    assert [problem.key for problem in caught.value.problems] == [
        "telemetry.status.tls.certificate, telemetry.status.tls.key",
        "telemetry.status.tls.client_ca",
    ]
