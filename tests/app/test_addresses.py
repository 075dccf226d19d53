import pytest

from seawall.app import addresses
from seawall.proxy.settings import Listen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:6432", ("127.0.0.1", 6432)),
        ("[::1]:6432", ("::1", 6432)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("db.internal:5432", ("db.internal", 5432)),
        ("db.internal", ("db.internal", 1)),
        ("[::1]", ("::1", 1)),
    ],
)
def test_an_address_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert addresses.read_host_port(text, default_port=1) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":1",
            "a:",
            "a:x",
            "a:0",
            "a:65536",
            "a:-1",
            "a:\uff11",
            "::1",
            "::1:5",
            "[::1",
            "[::1]x",
            "[::1]:",
        ),
        *(
            "[a]:1",
            "a b:1",
            "a/b:1",
            "-a:1",
            "a-:1",
            "a..b:1",
            "1.2.3:1",
            "1.2.3.4.5:1",
            "256.1.1.1:1",
            "a@b:1",
        ),
        "a\n:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        addresses.read_host_port(text, default_port=5432)


def test_a_port_is_needed_where_there_is_no_default() -> None:
    for text in ("a", "[::1]"):
        with pytest.raises(ValueError):
            addresses.read_host_port(text)


@pytest.mark.parametrize("value", [None, 5, ["a"]])
def test_only_a_text_is_an_address(value: object) -> None:
    for read in (addresses.read_host, addresses.read_host_port, addresses.read_directory):
        with pytest.raises(TypeError):
            read(value)


def test_one_address_or_a_list() -> None:
    assert addresses.read_listen("a:0") == (Listen(host="a", port=0),)
    assert addresses.read_listen([]) == ()
    assert len(addresses.read_listen([f"a:{port}" for port in range(1, 65)])) == addresses.LISTEN_MAX
    with pytest.raises(ValueError):
        addresses.read_listen([f"a:{port}" for port in range(1, 66)])


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        (Listen(host="127.0.0.1"), True),
        (Listen(host="127.1.2.3"), True),
        (Listen(host="::1"), True),
        (Listen(host="localhost"), True),
        (Listen(host="", unix_directory="/run"), True),
        (Listen(host="0.0.0.0"), False),
        (Listen(host="::"), False),
        (Listen(host="example.org"), False),
        (Listen(host="10.0.0.1"), False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(listen: Listen, expected: bool) -> None:
    assert addresses.is_loopback(listen) is expected


def test_a_socket_directory_fits_the_kernels_limit() -> None:
    longest = "/" + "x" * (addresses.SOCKET_DIRECTORY_MAX_BYTES - 1)
    assert addresses.read_directory(longest) == addresses.read_host(longest) == longest
    # Linux unix(7): sun_path has 108 bytes.
    assert len(f"{longest}/.s.PGSQL.65535".encode()) < 108
    for text in (longest + "x", "relative", "/a\0b"):
        with pytest.raises(ValueError):
            addresses.read_directory(text)
