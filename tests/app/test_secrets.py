import pickle

import pytest

from seawall.app.secrets import SECRET_MAX_BYTES, Secret, SecretFileError, read_file


def test_a_secret_shows_itself_on_purpose_only() -> None:
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for text in (repr(secret), str(secret), f"{secret}", repr({"a": [secret]})):
        assert "hunter2" not in text


def test_secrets_compare_hash_and_travel() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert pickle.loads(pickle.dumps(Secret("ü"))) == Secret("ü")
    assert bool(Secret("a")) is True
    assert bool(Secret("")) is False


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"x", "x"),
        (b"x\n", "x"),
        (b"x\r\n", "x"),
        ("ü ".encode(), "ü "),
        (b"x" * SECRET_MAX_BYTES + b"\r\n", None),
    ],
)
def test_a_secrets_file_has_one_line(tmp_path, content: bytes, secret: str | None) -> None:
    (tmp_path / "s").write_bytes(content)
    assert read_file("s", tmp_path) == (secret or "x" * SECRET_MAX_BYTES)
    assert read_file(str(tmp_path / "s"), tmp_path / "elsewhere") == (secret or "x" * SECRET_MAX_BYTES)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a\nb", b"a\n\n", b"a\0", b"\xff", b"x" * (SECRET_MAX_BYTES + 1), b"x" * 100_000]
)
def test_anything_else_is_refused_without_a_word_of_it(tmp_path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(SecretFileError) as caught:
        read_file("s", tmp_path)
    assert "xx" not in str(caught.value)


@pytest.mark.parametrize("path", ["none", ".", "a\0b"])
def test_what_is_no_file_is_refused(tmp_path, path: str) -> None:
    with pytest.raises(SecretFileError):
        read_file(path, tmp_path)
