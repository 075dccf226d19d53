"""Whatever the other side says, a login goes on, is done or is refused; nothing else can happen."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.pgwire import messages
from seawall.wire.pgwire.login import (
    AUTHENTICATION_KIND,
    PASSWORD_KIND,
    ClientLogin,
    LoginRefused,
    ServerLogin,
)
from seawall.wire.pgwire.passwords import Md5Secret, PlainSecret, Secret
from seawall.wire.pgwire.scram import ScramKeys
from tests.wire.cut import body, cut

PENCIL = PlainSecret("pencil")
SECRETS = [None, PENCIL, PENCIL.md5("ann"), PENCIL.scram(b"salt", 3)]
PASSWORDS = [None, "pencil", PENCIL.md5("ann"), ScramKeys(b"c" * 32, b"s" * 32)]

soup = st.text("SCRAM-256n,=abrciwsvp\0 ", max_size=30).map(str.encode)
noise = st.one_of(st.binary(max_size=30), soup)

from_clients = st.one_of(
    noise,
    noise.map(lambda data: data + b"\0"),
    noise.map(lambda data: body(messages.sasl_initial_response("SCRAM-SHA-256", data))),
    st.just(b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
    st.just(body(messages.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=abc"))),
    st.just(b"n,,n=,r=abc"),
)
from_servers = st.builds(
    lambda code, data: code.to_bytes(4, "big") + data,
    st.sampled_from([0, 2, 3, 5, 7, 10, 11, 12, 2**31]),
    st.one_of(noise, st.just(b"SCRAM-SHA-256\0\0"), st.just(b"salt"), st.just(b"r=abc,s=AAAA,i=1")),
)


@given(
    st.sampled_from(["scram-sha-256", "md5", "password"]),
    st.sampled_from(SECRETS),
    st.lists(st.tuples(st.sampled_from([PASSWORD_KIND] * 9 + [0]), from_clients), max_size=6),
)
def test_no_noise_logs_in(method: str, secret: Secret | None, said: list[tuple[int, bytes]]) -> None:
    one = ServerLogin(method, "ann", secret, nonce=b"n" * 16, salt=b"salt", mock_key=b"m" * 16)
    assert cut(one.start())
    refusal = ""
    for kind, data in said:
        try:
            answer = one.receive(kind, data)
        except LoginRefused as refused:
            refusal = refused.sqlstate
            break
        assert cut(answer)
        assert not one.done
    assert refusal in {"", "08P01", "28P01", "0A000"}
    assert not one.done


@given(
    st.sampled_from(PASSWORDS),
    st.lists(st.tuples(st.sampled_from([AUTHENTICATION_KIND] * 9 + [0]), from_servers), max_size=6),
)
def test_no_noise_passes_for_a_server(
    password: str | ScramKeys | Md5Secret | None, said: list[tuple[int, bytes]]
) -> None:
    ours = ClientLogin("ann", password, nonce=b"c" * 16)
    codes = []
    refusal = ""
    for kind, data in said:
        try:
            answer = ours.receive(kind, data)
        except LoginRefused as refused:
            refusal = refused.sqlstate
            break
        codes.append(int.from_bytes(data[:4], "big"))
        assert not answer or cut(answer)
        if ours.done:
            break
    assert refusal in {"", "08P01", "28000", "0A000"}
    # Nobody gets through a SCRAM exchange by chance.
    assert ours.done is (codes in ([0], [3, 0], [5, 0]))


@given(
    st.text(min_size=1, max_size=12).filter(lambda text: "\0" not in text and text.isprintable()), st.data()
)
def test_two_of_ours_always_understand_each_other(password: str, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(["scram-sha-256", "md5", "password", "trust"]))
    secret = data.draw(
        st.sampled_from(
            [PlainSecret(password), PlainSecret(password).scram(b"s", 2)]
            + ([PlainSecret(password).md5("ann")] if method != "scram-sha-256" else [])
        )
    )
    one = ServerLogin(method, "ann", secret, nonce=b"n" * 16, salt=b"salt", mock_key=b"m" * 16)
    ours = ClientLogin("ann", password, nonce=b"c" * 16)
    sent = one.start()
    while not ours.done:
        answer = b""
        for kind, message in cut(sent):
            answer = ours.receive(kind[0], message)
        if answer:
            sent = one.receive(answer[0], body(answer))
    assert one.done
    assert one.scram_keys == ours.scram_keys
