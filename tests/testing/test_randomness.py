"""The same numbers in every run."""

from seawall.testing import DeterministicRandom


def test_the_same_start_gives_the_same_numbers() -> None:
    one, two = DeterministicRandom(3), DeterministicRandom(3)

    assert [one() for _ in range(50)] == [two() for _ in range(50)]


def test_another_start_gives_others() -> None:
    assert DeterministicRandom(1)() != DeterministicRandom(2)()


def test_numbers_are_from_zero_to_below_one() -> None:
    rng = DeterministicRandom()

    assert all(0.0 <= rng() < 1.0 for _ in range(1_000))


def test_it_can_be_replayed() -> None:
    rng = DeterministicRandom(11)
    first = [rng(), rng(), rng()]
    assert rng.drawn == 3

    rng.rewind()

    assert rng.drawn == 0
    assert [rng(), rng(), rng()] == first


def test_it_tells_how_to_repeat_it() -> None:
    rng = DeterministicRandom(5)
    rng()

    assert repr(rng) == "<DeterministicRandom seed=5 drawn=1>"
