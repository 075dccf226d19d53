from threading import Thread

from seawall.kernel.tally import Tally


def test_it_counts_and_reading_changes_nothing():
    tally = Tally()
    assert [tally.value, tally.value] == [0, 0]
    for _ in range(3):
        tally.add()
    assert [tally.value, tally.value] == [3, 3]


def test_threads_lose_nothing(rapid_switching):
    tally = Tally()

    def work():
        for _ in range(5_000):
            tally.add()
            assert tally.value > 0

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.value == 20_000
