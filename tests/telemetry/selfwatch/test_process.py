"""The process's basics agree with what the system says by other ways, and absence is no error."""

import os
import time

from seawall.telemetry.catalogue import own
from seawall.telemetry.selfwatch import process

STAT = b"7 (a) b (c) S " + b" ".join(str(number).encode() for number in range(4, 40)) + b"\n"


def readings(*proc) -> dict[str, float]:
    found = []
    for _ in process.of_process(found.append, *proc):
        continue
    return {reading.metric.name: reading.value for reading in found}


def test_this_process() -> None:
    values = readings()
    assert 0 < time.time() - values["process_start_time"] < 100_000
    assert values["process_cpu"] > 0
    assert values["process_virtual_memory"] > values["process_resident_memory"] > 1_000_000
    assert values["process_max_fds"] > values["process_open_fds"] > 2


def test_an_open_file_is_counted() -> None:
    before = readings()["process_open_fds"]
    opened = os.open("/", os.O_RDONLY)
    try:
        assert readings()["process_open_fds"] == before + 1
    finally:
        os.close(opened)


def made(tmp_path, stat=STAT, boot=b"cpu 1\nbtime 1000\n"):
    (tmp_path / "self").mkdir(parents=True)
    (tmp_path / "self" / "stat").write_bytes(stat)
    (tmp_path / "stat").write_bytes(boot)
    return tmp_path


def test_a_name_may_have_blanks_and_parentheses(tmp_path) -> None:
    values = readings(made(tmp_path))
    assert values["process_start_time"] == 1000 + 22 / os.sysconf("SC_CLK_TCK")
    assert values["process_virtual_memory"] == 23
    assert values["process_resident_memory"] == 24 * os.sysconf("SC_PAGE_SIZE")


def test_where_the_system_tells_less_the_rest_is_there(tmp_path) -> None:
    assert readings(tmp_path / "none").keys() == {"process_cpu", "process_max_fds"}
    assert "process_start_time" not in readings(made(tmp_path / "no boot", boot=b"cpu 1\n"))
    assert "process_resident_memory" not in readings(made(tmp_path / "short", stat=b"7 (a) S 1\n"))


def test_descriptors_are_counted_in_slices_where_the_directory_has_no_size(monkeypatch) -> None:
    class Directory:
        def stat(self):
            return os.stat_result([0] * 10)

        def __fspath__(self):
            return "/proc/self/fd"

    monkeypatch.setattr(process, "FDS_SLICE", 1)
    count = []

    def counted():
        count.append((yield from process._descriptors(Directory())))

    steps = sum(1 for _ in counted())
    # The directory was open and in the listing, and is not counted.
    assert count == [steps - 1]
    assert steps == readings()[own.PROCESS_OPEN_FDS.name] + 1
