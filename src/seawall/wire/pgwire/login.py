"""Logging in, for both sides: one object per connection, message bodies in, messages out.

Theory of operation
-------------------
The server's part (`ServerLogin`)::

    START --- LET_IN ----------------------------------------------------> DONE
    START --- ASKED ----> PASSWORD --- RIGHT ----------------------------> DONE
    START --- OFFERED --> CHOICE --- CHALLENGED --> PROOF --- RIGHT -----> DONE
                             |                        |
                             +-- EMPTY --> REPEAT ----+ CHALLENGED

* Every message of the client has the type ``p``; what it means is the state's business. Everything else,
  and every doubt, is WRONG and leads to FAILED.
* A client may choose a mechanism without saying more; it is then asked once more (EMPTY).
* The method ``md5`` turns into SCRAM for a user who has a SCRAM verifier, as in PostgreSQL.
* A user who doesn't exist, or has a secret of the wrong kind, goes through the same messages and is refused
  at the end in the same words. Under ``scram-sha-256`` and ``password`` the work is the same, too; ``md5``
  shows which users have SCRAM verifiers.

The client's part (`ClientLogin`) is driven by the server's authentication requests::

    START --- Ok --------------------------------------------------------> DONE
    START --- CleartextPassword, MD5Password --> SENT --- Ok ------------> DONE
    START --- SASL --> OFFERED --- SASLContinue --> PROVED --- SASLFinal --> VERIFIED --- Ok --> DONE

* Ok while SCRAM is under way is refused: who skips the signature doesn't know the verifier and wants us to
  believe that it does.

The number and size of messages is bounded here only by the tables; the length of one is the caller's to
limit.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", sections "Start-up" and "SASL Authentication".
"""

from __future__ import annotations

import hmac
from enum import Enum
from typing import Final

from seawall.kernel.errors import AuthorizationError, UsageError, ValidationError
from seawall.wire.pgwire import messages, sqlstate
from seawall.wire.pgwire.messages import ProtocolViolation
from seawall.wire.pgwire.passwords import MAX_ITERATIONS, Md5Secret, PlainSecret, ScramSecret, Secret
from seawall.wire.pgwire.scram import (
    MECHANISM,
    ScramClient,
    ScramKeys,
    ScramServer,
    mock_secret,
    parse_initial_response,
    parse_mechanisms,
    printable_nonce,
    verifier_for,
)

PASSWORD_KIND: Final = ord("p")
"""Type of every message that a client answers with."""

AUTHENTICATION_KIND: Final = ord("R")
"""Type of every authentication request."""

METHODS: Final = frozenset({"scram-sha-256", "md5", "password", "trust"})
"""Names as in pg_hba.conf."""

_MD5_SALT_BYTES: Final = 4
_FOREIGN_METHODS: Final = {
    2: "Kerberos V5",
    4: "crypt",
    6: "SCM credentials",
    7: "GSSAPI",
    8: "GSSAPI",
    9: "SSPI",
}


class LoginRefused(AuthorizationError):
    """The login has failed; the text may be shown to the other side.

    Args:
        message: One sentence, as PostgreSQL would put it.
        sqlstate: Five characters, PostgreSQL appendix A.
        detail: The DETAIL field, if any.
        reason: What was really wrong, for the log only: it tells who exists.
    """

    __slots__ = ("detail", "reason", "sqlstate")

    def __init__(
        self,
        message: str = "",
        sqlstate: str = sqlstate.INVALID_AUTHORIZATION,
        detail: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail
        self.reason = reason

    def __reduce__(self) -> tuple[type[LoginRefused], tuple[object, ...]]:
        return type(self), (self.message, self.sqlstate, self.detail, self.reason)


class ServerState(Enum):
    """Where a client's login stands."""

    START = "start"
    PASSWORD = "password"  # noqa: S105 - a state
    CHOICE = "choice"
    REPEAT = "repeat"
    PROOF = "proof"
    DONE = "done"
    FAILED = "failed"


class ServerEvent(Enum):
    """What can happen in a client's login."""

    LET_IN = "let in"
    ASKED = "asked"
    OFFERED = "offered"
    EMPTY = "empty"
    CHALLENGED = "challenged"
    RIGHT = "right"
    WRONG = "wrong"


SERVER_TRANSITIONS: Final[dict[tuple[ServerState, ServerEvent], ServerState]] = {
    (ServerState.START, ServerEvent.LET_IN): ServerState.DONE,
    (ServerState.START, ServerEvent.ASKED): ServerState.PASSWORD,
    (ServerState.START, ServerEvent.OFFERED): ServerState.CHOICE,
    (ServerState.CHOICE, ServerEvent.EMPTY): ServerState.REPEAT,
    (ServerState.CHOICE, ServerEvent.CHALLENGED): ServerState.PROOF,
    (ServerState.REPEAT, ServerEvent.CHALLENGED): ServerState.PROOF,
    (ServerState.PASSWORD, ServerEvent.RIGHT): ServerState.DONE,
    (ServerState.PROOF, ServerEvent.RIGHT): ServerState.DONE,
    (ServerState.PASSWORD, ServerEvent.WRONG): ServerState.FAILED,
    (ServerState.CHOICE, ServerEvent.WRONG): ServerState.FAILED,
    (ServerState.REPEAT, ServerEvent.WRONG): ServerState.FAILED,
    (ServerState.PROOF, ServerEvent.WRONG): ServerState.FAILED,
}


class ClientState(Enum):
    """Where our login to a server stands."""

    START = "start"
    SENT = "sent"
    OFFERED = "offered"
    PROVED = "proved"
    VERIFIED = "verified"
    DONE = "done"
    FAILED = "failed"


CLIENT_TRANSITIONS: Final[dict[tuple[ClientState, int], ClientState]] = {
    (ClientState.START, messages.AUTH_OK): ClientState.DONE,
    (ClientState.START, messages.AUTH_CLEARTEXT): ClientState.SENT,
    (ClientState.START, messages.AUTH_MD5): ClientState.SENT,
    (ClientState.START, messages.AUTH_SASL): ClientState.OFFERED,
    (ClientState.SENT, messages.AUTH_OK): ClientState.DONE,
    (ClientState.OFFERED, messages.AUTH_SASL_CONTINUE): ClientState.PROVED,
    (ClientState.PROVED, messages.AUTH_SASL_FINAL): ClientState.VERIFIED,
    (ClientState.VERIFIED, messages.AUTH_OK): ClientState.DONE,
}


class ServerLogin:
    """The server's side of one login.

    Args:
        method: As in pg_hba.conf: ``scram-sha-256``, ``md5``, ``password`` or ``trust``.
        user: Name in the startup packet.
        secret: What is known of the user's password; ``None`` if there is no such user or no password.
        nonce: At least 16 random bytes, new for each login.
        salt: At least 4 random bytes, new for each login (``md5`` only).
        mock_key: At least 16 random bytes, secret and the same in every worker; see ``scram.mock_secret``.

    Raises:
        UsageError: There is no such method.
    """

    __slots__ = ("_method", "_mock_key", "_nonce", "_salt", "_scram", "_secret", "_state", "_user")

    def __init__(
        self, method: str, user: str, secret: Secret | None, *, nonce: bytes, salt: bytes, mock_key: bytes
    ) -> None:
        if method not in METHODS:
            raise UsageError(f"method = {method!r}: allowed is one of {', '.join(sorted(METHODS))}")
        # PostgreSQL does the same, so that verifiers can be replaced one by one before pg_hba.conf is.
        self._method = "scram-sha-256" if method == "md5" and isinstance(secret, ScramSecret) else method
        self._user = user
        self._secret = secret
        self._nonce = nonce
        self._salt = salt[:_MD5_SALT_BYTES]
        self._mock_key = mock_key
        self._scram: ScramServer | None = None
        self._state = ServerState.START

    def __repr__(self) -> str:
        return f"ServerLogin({self._method!r}, {self._user!r}, {self._state.value})"

    @property
    def state(self) -> ServerState:
        """Where the login stands."""
        return self._state

    @property
    def done(self) -> bool:
        """Whether the client is in."""
        return self._state is ServerState.DONE

    @property
    def client_key(self) -> bytes | None:
        """The client's SCRAM ClientKey, once it is in; with it one can log in as the client elsewhere."""
        keys = self.scram_keys
        return None if keys is None else keys.client_key

    @property
    def scram_keys(self) -> ScramKeys | None:
        """What `ClientLogin` needs for a server that has the same verifier; ``None`` without SCRAM."""
        return self._scram.keys if self._scram is not None and self.done else None

    def start(self) -> bytes:
        """The first message: the request for a password, or AuthenticationOk if none is wanted.

        Raises:
            UsageError: Called twice, or salt, nonce or mock key are too short.
        """
        if self._state is not ServerState.START:
            raise UsageError("start: this login has begun; make a new ServerLogin for each connection")
        if self._method == "trust":
            return self._go(ServerEvent.LET_IN, messages.authentication_ok())
        if self._method == "password":
            return self._go(ServerEvent.ASKED, messages.authentication_cleartext())
        if self._method == "md5":
            if len(self._salt) < _MD5_SALT_BYTES:
                raise UsageError(f"salt: {len(self._salt)} bytes; give {_MD5_SALT_BYTES} random ones")
            return self._go(ServerEvent.ASKED, messages.authentication_md5(self._salt))
        verifier, genuine = verifier_for(self._secret, self._user, self._mock_key)
        self._scram = ScramServer(verifier, nonce=printable_nonce(self._nonce), genuine=genuine)
        return self._go(ServerEvent.OFFERED, messages.authentication_sasl([MECHANISM]))

    def receive(self, kind: int, body: bytes) -> bytes:
        """Take the client's next message.

        Args:
            kind: Its type byte.
            body: What follows the length.

        Returns:
            What to send. The last time this ends with AuthenticationOk, and ``done`` is true.

        Raises:
            LoginRefused: Send it as a FATAL ErrorResponse and hang up.
            UsageError: The login is not under way.
        """
        if self._state in {ServerState.START, ServerState.DONE, ServerState.FAILED}:
            raise UsageError(f"receive: the login is not under way ({self._state.value})")
        try:
            return self._step(kind, body)
        except ProtocolViolation as violation:
            self._go(ServerEvent.WRONG)
            raise _refused(violation) from violation
        except LoginRefused:
            self._go(ServerEvent.WRONG)
            raise

    def _go(self, event: ServerEvent, answer: bytes = b"") -> bytes:
        self._state = SERVER_TRANSITIONS[self._state, event]
        return answer

    def _step(self, kind: int, body: bytes) -> bytes:
        if kind != PASSWORD_KIND:
            wanted = "password" if self._scram is None else "SASL"
            raise ProtocolViolation(f"expected {wanted} response, got message type {kind}")
        if self._state is ServerState.PASSWORD:
            return self._check_password(body)
        assert self._scram is not None
        if self._state is ServerState.PROOF:
            return self._check_proof(self._scram, body)
        first = parse_initial_response(body) if self._state is ServerState.CHOICE else body
        if first is None:
            return self._go(ServerEvent.EMPTY, messages.authentication_sasl_continue(b""))
        challenge = self._scram.first(first)
        return self._go(ServerEvent.CHALLENGED, messages.authentication_sasl_continue(challenge))

    def _check_proof(self, scram: ScramServer, body: bytes) -> bytes:
        signature = scram.final(body)
        if signature is None:
            raise self._refusal()
        final = messages.authentication_sasl_final(signature)
        return self._go(ServerEvent.RIGHT, final + messages.authentication_ok())

    def _check_password(self, body: bytes) -> bytes:
        given, end = body[:-1], len(body) - 1
        if body.find(b"\0") != end or end < 0:
            raise ProtocolViolation("invalid password packet size")
        if not given:
            raise LoginRefused("empty password returned by client", sqlstate.INVALID_PASSWORD)
        right = self._is_response(given) if self._method == "md5" else self._is_password(given)
        if not right:
            raise self._refusal()
        return self._go(ServerEvent.RIGHT, messages.authentication_ok())

    def _is_password(self, given: bytes) -> bool:
        # One round of hashing whoever it is, so that time tells nothing.
        verifier, genuine = verifier_for(self._secret, self._user, self._mock_key)
        right = verifier.matches(given)
        if isinstance(self._secret, Md5Secret):
            return self._secret.matches(self._user, given)
        return right and genuine

    def _is_response(self, given: bytes) -> bool:
        secret = self._secret
        if isinstance(secret, PlainSecret):
            secret = secret.md5(self._user)
        if isinstance(secret, Md5Secret):
            return hmac.compare_digest(given, secret.response(self._salt))
        mock = Md5Secret(mock_secret(self._mock_key, self._user).salt.hex())
        hmac.compare_digest(given, mock.response(self._salt))
        return False

    def _refusal(self) -> LoginRefused:
        if self._secret is None:
            reason = "no such user, or the user has no password"
        elif self._scram is not None and isinstance(self._secret, Md5Secret):
            reason = "the user has an MD5 secret, which SCRAM cannot use"
        else:
            reason = "the password does not match"
        message = f'password authentication failed for user "{self._user}"'
        return LoginRefused(message, sqlstate.INVALID_PASSWORD, reason=reason)


class ClientLogin:
    """Our side of one login to a server.

    Args:
        user: Name in the startup packet.
        password: The password, keys that a SCRAM client has shown us, an MD5 secret, or nothing.
        nonce: At least 16 random bytes, new for each login.
        allow_cleartext: Whether the password may travel as it is.
        max_iterations: More SCRAM iterations than that are refused.

    Raises:
        ValidationError: There is a NUL in the password.
    """

    __slots__ = ("_allow_cleartext", "_max_iterations", "_nonce", "_password", "_scram", "_state", "_user")

    def __init__(
        self,
        user: str,
        password: str | ScramKeys | Md5Secret | None,
        *,
        nonce: bytes,
        allow_cleartext: bool = True,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        self._user = user
        self._password = PlainSecret(password) if isinstance(password, str) and password else password or None
        self._nonce = nonce
        self._allow_cleartext = allow_cleartext
        self._max_iterations = max_iterations
        self._scram: ScramClient | None = None
        self._state = ClientState.START

    def __repr__(self) -> str:
        return f"ClientLogin({self._user!r}, {self._state.value})"

    @property
    def state(self) -> ClientState:
        """Where the login stands."""
        return self._state

    @property
    def done(self) -> bool:
        """Whether the server has let us in."""
        return self._state is ClientState.DONE

    @property
    def scram_keys(self) -> ScramKeys | None:
        """Keys for the next login as this user, which then costs no hashing; ``None`` without SCRAM."""
        return self._scram.keys if self._scram is not None and self.done else None

    def receive(self, kind: int, body: bytes) -> bytes:
        """Take an authentication request; errors, notices and negotiations of the server are the caller's.

        Args:
            kind: Its type byte.
            body: What follows the length.

        Returns:
            What to send; nothing after AuthenticationOk, when ``done`` is true.

        Raises:
            LoginRefused: The server wants what we can't or won't do, or is not the one it says. Hang up.
            UsageError: The login is over, or the nonce too short.
        """
        if self._state in {ClientState.DONE, ClientState.FAILED}:
            raise UsageError(f"receive: the login is over ({self._state.value})")
        try:
            return self._step(kind, body)
        except ValidationError as fault:
            self._state = ClientState.FAILED
            raise _refused(fault) from fault
        except LoginRefused:
            self._state = ClientState.FAILED
            raise

    def _step(self, kind: int, body: bytes) -> bytes:
        if kind != AUTHENTICATION_KIND:
            raise ProtocolViolation(f"expected an authentication request, got message type {kind}")
        code, data = messages.parse_authentication(body)
        target = CLIENT_TRANSITIONS.get((self._state, code))
        if target is None:
            raise self._unexpected(code)
        answer = self._answer(code, data)
        self._state = target
        return answer

    def _answer(self, code: int, data: bytes) -> bytes:
        if code == messages.AUTH_CLEARTEXT:
            return self._cleartext()
        if code == messages.AUTH_MD5:
            return self._md5(data)
        if code == messages.AUTH_SASL:
            return self._choose(data)
        if code == messages.AUTH_OK:
            return b""
        assert self._scram is not None
        if code == messages.AUTH_SASL_CONTINUE:
            return messages.sasl_response(self._scram.final(data))
        self._scram.verify(data)
        return b""

    def _cleartext(self) -> bytes:
        if not self._allow_cleartext:
            raise self._cannot("a password in clear text, which is not allowed")
        if not isinstance(self._password, PlainSecret):
            raise self._cannot("a password in clear text")
        return messages.password_message(self._password.password)

    def _md5(self, salt: bytes) -> bytes:
        if len(salt) != _MD5_SALT_BYTES:
            raise ProtocolViolation("invalid MD5 authentication request")
        secret = self._password
        if isinstance(secret, PlainSecret):
            secret = secret.md5(self._user)
        if not isinstance(secret, Md5Secret):
            raise self._cannot("an MD5 password")
        return messages.password_message(secret.response(salt))

    def _choose(self, data: bytes) -> bytes:
        offered = parse_mechanisms(data)
        if MECHANISM not in offered:
            raise self._cannot(f"SASL authentication by {', '.join(offered) or 'no mechanism'}")
        secret = self._password
        if secret is None or isinstance(secret, Md5Secret):
            raise self._cannot("a SCRAM-SHA-256 password")
        self._scram = ScramClient(
            secret.password if isinstance(secret, PlainSecret) else secret,
            nonce=printable_nonce(self._nonce),
            max_iterations=self._max_iterations,
        )
        return messages.sasl_initial_response(MECHANISM, self._scram.first())

    def _cannot(self, wanted: str) -> LoginRefused:
        if self._password is None:
            return LoginRefused(
                f'the server asks for {wanted}, and none is configured for user "{self._user}"; configure one'
            )
        kind = {PlainSecret: "a password", ScramKeys: "SCRAM keys", Md5Secret: "an MD5 secret"}[
            type(self._password)
        ]
        return LoginRefused(f'the server asks for {wanted}; there is {kind} for user "{self._user}"')

    def _unexpected(self, code: int) -> LoginRefused:
        foreign = _FOREIGN_METHODS.get(code)
        if foreign is not None:
            return LoginRefused(
                f'the server asks user "{self._user}" for {foreign} authentication, which is not supported;'
                " use scram-sha-256 in its pg_hba.conf"
            )
        if code == messages.AUTH_OK:
            return LoginRefused(
                "the server ended the SCRAM exchange without proving that it knows the password",
                sqlstate.PROTOCOL_VIOLATION,
            )
        message = f"unexpected authentication request {code} from the server ({self._state.value})"
        return LoginRefused(message, sqlstate.PROTOCOL_VIOLATION)


def _refused(fault: ValidationError) -> LoginRefused:
    if isinstance(fault, ProtocolViolation):
        return LoginRefused(str(fault), fault.sqlstate, fault.detail)
    return LoginRefused(str(fault))
