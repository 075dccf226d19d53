"""The same things done by a user without any rights, as on most people's machines."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from seawall.embedded import directories, engines, find_engine
from seawall.embedded.accounts import Account
from tests.embedded.servers import reachable_place

pytestmark = pytest.mark.timeout(90)

PACKAGE = Path(engines.__file__).parents[1]

PROGRAM = """
import json, os, sys
from pathlib import Path
from seawall.embedded import Cluster
from seawall.embedded.engines import engine_at

engine = engine_at(Path(sys.argv[1]), "wheel")
with Cluster.create(engine=engine, replicas=1) as cluster:
    primary, replica = cluster.nodes
    primary.execute("CREATE TABLE kept AS SELECT generate_series(1, 10)")
    cluster.wait_caught_up()
    owners = {os.stat(node.data_directory).st_uid for node in cluster.nodes}
    servers = {os.stat(f"/proc/{pid}").st_uid for node in cluster.nodes for pid in node.pids()}
    replica.pause()
    paused = replica.is_paused
    replica.resume()
    killed = primary.kill()
    cluster.promote(replica.name)
    method = cluster.rejoin(primary.name).method
    cluster.wait_caught_up()
    rows = [node.execute("SELECT count(*) FROM kept") for node in cluster.nodes]
    directory = cluster.directory
print(json.dumps({
    "uid": os.geteuid(), "owners": sorted(owners), "servers": sorted(servers),
    "paused": paused, "killed": killed,
    "method": method, "rows": rows, "gone": not directory.exists(), "home": str(directory.parent),
}))
"""


@pytest.fixture
def nobody() -> Account:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else; all other tests ran without rights here")
    entry = pwd.getpwnam("nobody")
    return Account("nobody", entry.pw_uid, entry.pw_gid, borrowed=True)


@pytest.fixture
def stage(nobody) -> Iterator[Path]:
    """The package where nobody may read it, which a checkout under a home is not."""
    with reachable_place() as place:
        shutil.copytree(PACKAGE, place / "seawall", ignore=shutil.ignore_patterns("__pycache__"))
        for directory, _, files in os.walk(place):
            os.chmod(directory, 0o755)
            for name in files:
                os.chmod(os.path.join(directory, name), 0o644)
        yield place
    for parent in (directories.SCRATCH_PARENT, Path(tempfile.gettempdir())):
        with suppress(OSError):
            (parent / f"seawall-{nobody.uid}").rmdir()  # which spares it if somebody uses it


def interpreter(account: Account, environment: dict[str, str]) -> str:
    """A Python that the account may run: ours, or the system's."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        command = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            answer = subprocess.run(command, env=environment, check=False, **account.process_options())
        except OSError:
            continue
        if answer.returncode == 0:
            return python
    pytest.skip("nobody can run no Python 3.11 or newer on this machine")


def test_a_cluster_without_any_rights(nobody, stage) -> None:
    engine = engines.usable_by(find_engine("wheel"), nobody)
    environment = {"PYTHONPATH": str(stage), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    python = interpreter(nobody, environment)
    answer = subprocess.run(
        [python, "-W", "error", "-c", PROGRAM, str(engine.bin_directory)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **nobody.process_options(),
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    said = json.loads(answer.stdout)
    home = said.pop("home")
    assert home.endswith(f"seawall-{nobody.uid}")
    assert said.pop("killed") >= 6
    assert said == {
        "uid": nobody.uid,
        "owners": [nobody.uid],
        "servers": [nobody.uid],
        "paused": True,
        "method": "rewound",
        "rows": [[["10"]], [["10"]]],
        "gone": True,
    }


def test_roots_cluster_is_not_nobodys_business(nobody, stage, server) -> None:
    environment = {"PYTHONPATH": str(stage), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    program = (
        "import sys\nfrom seawall.embedded import Cluster\n"
        "try: Cluster.open(sys.argv[1])\nexcept Exception as error: print(type(error).__name__, error)"
    )
    answer = subprocess.run(
        [interpreter(nobody, environment), "-c", program, str(server.directory)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **nobody.process_options(),
    )
    assert answer.stdout.startswith("UsageError"), answer.stdout + answer.stderr
    assert "belongs to user 0" in answer.stdout
