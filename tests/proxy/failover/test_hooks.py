"""Hooks: what is run, with which words, and that a command that fails, hangs or chatters does no harm."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from seawall.proxy.failover.hooks import (
    OUTPUT_BYTES_MAX,
    PROMOTE,
    CommandHooks,
    HookFailed,
    NoHooks,
    run_command,
)
from seawall.proxy.settings import Backend, Failover

BACKENDS = (
    Backend(name="one", host="10.0.0.1"),
    Backend(name="two", host="10.0.0.2", port=5433),
    Backend(name="{port}", host="10.0.0.3"),
)
WORDS = ("{node}", "{host}", "{port}", "{primary}", "a {primary} b", "{other}", "$HOME")


class Ran:
    """Takes what would be run on a server."""

    def __init__(self):
        self.statements = []

    async def __call__(self, node, sql):
        self.statements.append((node, sql))


def writing(path, *words):
    """A command that writes its words into a file, one line each time it is run."""
    program = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('a').write('|'.join(sys.argv[2:]) + '\\n')"
    return (sys.executable, "-c", program, str(path), *words)


def saying(text, status=0):
    return (sys.executable, "-c", f"import sys; sys.stdout.write({text!r}); sys.exit({status})")


def test_without_hooks_a_server_is_promoted_by_sql_and_nothing_else_is_done():
    ran = Ran()

    async def all_of_them():
        hooks = NoHooks(ran)
        assert not hooks.can_fence
        assert not hooks.can_rejoin
        await hooks.fence("one", clean=True)
        await hooks.promote("two")
        await hooks.repoint("two", ["one"])
        with pytest.raises(HookFailed, match="one: it is no replica of two, and no rejoin_command"):
            await hooks.rejoin("one", "two")

    asyncio.run(all_of_them())
    assert ran.statements == [("two", PROMOTE)]


def test_commands_that_are_empty_are_as_if_there_were_no_hooks():
    ran = Ran()

    async def all_of_them():
        hooks = CommandHooks(Failover(), BACKENDS, ran)
        assert not hooks.can_fence
        assert not hooks.can_rejoin
        await hooks.fence("one", clean=False)
        await hooks.promote("two")
        await hooks.repoint("two", ["one"])
        with pytest.raises(HookFailed):
            await hooks.rejoin("one", "two")

    asyncio.run(all_of_them())
    assert ran.statements == [("two", PROMOTE)]


def test_words_in_braces_are_replaced_once_and_no_shell_sees_the_rest(tmp_path):
    out, ran = tmp_path / "out", Ran()
    settings = Failover(
        fence_command=writing(out, "fence", *WORDS),
        promote_command=writing(out, "promote", *WORDS),
        repoint_command=writing(out, "repoint", *WORDS),
        rejoin_command=writing(out, "rejoin", *WORDS),
    )

    async def all_of_them():
        hooks = CommandHooks(settings, BACKENDS, ran)
        assert hooks.can_fence
        assert hooks.can_rejoin
        await hooks.fence("one", clean=True)
        await hooks.promote("two")
        await hooks.repoint("two", ["{port}"])
        await hooks.rejoin("one", "two")

    asyncio.run(all_of_them())
    assert out.read_text().splitlines() == [
        "fence|one|10.0.0.1|5432|one|a one b|{other}|$HOME",
        "promote|two|10.0.0.2|5433|two|a two b|{other}|$HOME",
        "repoint|{port}|10.0.0.3|5432|two|a two b|{other}|$HOME",
        "rejoin|one|10.0.0.1|5432|two|a two b|{other}|$HOME",
    ]
    assert ran.statements == []


def test_every_replica_is_repointed_though_one_fails(tmp_path):
    out = tmp_path / "out"
    program = (
        f"import sys, pathlib; pathlib.Path({str(out)!r}).open('a').write(sys.argv[1] + '\\n');"
        "sys.exit(sys.argv[1] == 'one')"
    )
    settings = Failover(repoint_command=(sys.executable, "-c", program, "{node}"))
    with pytest.raises(HookFailed, match=r"one: repoint_command: .* ended with status 1"):
        asyncio.run(CommandHooks(settings, BACKENDS, Ran()).repoint("two", ["one", "{port}"]))
    assert sorted(out.read_text().splitlines()) == ["one", "{port}"]


def test_what_a_command_said_is_in_the_error():
    with pytest.raises(HookFailed, match=r"one: fence_command: .* ended with status 3: no such host$"):
        asyncio.run(run_command("one", "fence_command", saying("no such host\n", 3), 20))


def test_only_the_end_of_what_it_said_is_kept():
    program = "import sys; sys.stdout.write('x' * 1_000_000 + 'end'); sys.exit(1)"
    with pytest.raises(HookFailed) as caught:
        asyncio.run(run_command("one", "fence_command", (sys.executable, "-c", program), 20))
    assert caught.value.reason.endswith("xend")
    assert len(caught.value.reason) < OUTPUT_BYTES_MAX + 200


@pytest.mark.parametrize(
    ("command", "said"),
    [(["/nowhere/at/all"], "No such file"), (["/"], "denied"), (["a\0b"], "null byte")],
)
def test_what_cannot_be_run_is_told(command, said):
    with pytest.raises(HookFailed, match=f"one: fence_command: cannot run .*{said}"):
        asyncio.run(run_command("one", "fence_command", command, 20))


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    program = (
        "import os, subprocess, sys, time, pathlib;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{child.pid}}');"
        "print('waiting', flush=True); time.sleep(600)"
    )

    async def until_it_waits():
        running = asyncio.create_task(
            run_command("one", "fence_command", (sys.executable, "-c", program), timeout_s=2.0)
        )
        with pytest.raises(HookFailed, match="took longer than 2 s: waiting"):
            await running

    asyncio.run(until_it_waits())
    until(lambda: all(dead(int(pid)) for pid in pids.read_text().split()))


def test_a_command_that_is_not_wanted_any_more_is_killed(tmp_path):
    ready = tmp_path / "pid"
    program = (
        f"import os, pathlib, time; pathlib.Path({str(ready)!r}).write_text(str(os.getpid()));time.sleep(600)"
    )

    async def cancel():
        running = asyncio.create_task(run_command("one", "x", (sys.executable, "-c", program), 60))
        await asyncio.to_thread(until, lambda: ready.exists() and ready.read_text())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel())
    assert dead(int(ready.read_text()))


def test_what_a_command_left_running_is_not_waited_for():
    program = (
        "import subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'], start_new_session=True)"
    )
    asyncio.run(run_command("one", "x", (sys.executable, "-c", program), 4.0))


def until(condition):
    """Wait for another process."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("not in time")


def dead(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"
