"""The small programs of ours for clients in other languages: node-postgres, JDBC, lib/pq.

Each exercises its driver and prints one JSON line per case; the sources are in ``programs/``.
"""

from __future__ import annotations

from pathlib import Path

from tests.conformance.peers import material
from tests.conformance.peers.outcomes import FAILED, SuiteFailedError, from_lines
from tests.conformance.peers.suites import HERE, Visit, finish

JDBC = "42.7.8"
JDBC_URL = f"https://repo1.maven.org/maven2/org/postgresql/postgresql/{JDBC}/postgresql-{JDBC}.jar"


def _run(command: list[str], visit: Visit, cwd: Path) -> dict[str, str]:
    extra = {
        "PGHOST": visit.address.host,
        "PGPORT": str(visit.address.port),
        "PGUSER": "postgres",
        "PGDATABASE": visit.database,
        "PGSSLMODE": "disable",
        "PEER_MODE": visit.mode,
    }
    done = finish(command, cwd=cwd, extra=extra, log=visit.report(".log"))
    found = from_lines("\n".join(line for line in done.stdout.splitlines() if line.startswith("{")))
    if (done.returncode != 0) != (FAILED in found.values()):
        raise SuiteFailedError(f"it ended with {done.returncode} but said otherwise:\n{done.stdout[-3000:]}")
    return found


def node(visit: Visit) -> dict[str, str]:
    """Run the program on node-postgres."""
    npm, program = material.tool("npm", "npm"), material.tool("node", "nodejs")
    place = material.copied(visit.folder, "node", HERE / "programs" / "node")
    if not (place / "node_modules").exists():
        material.run([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place)
    return _run([program, "peer.js"], visit, place)


def jdbc(visit: Visit) -> dict[str, str]:
    """Run the program on the JDBC driver from Maven's central repository."""
    compiler, java = material.tool("javac", "default-jdk"), material.tool("java", "default-jre")
    place = material.copied(visit.folder, "jdbc", HERE / "programs" / "jdbc")
    jar = place / f"postgresql-{JDBC}.jar"
    if not jar.exists():
        material.run([material.tool("curl", "curl"), "-fsSL", "-o", f"{jar}.part", JDBC_URL])
        Path(f"{jar}.part").rename(jar)
    material.run([compiler, "-cp", str(jar), "-d", str(place), *map(str, sorted(place.glob("*.java")))])
    return _run([java, "-cp", f"{jar}:{place}", "Peer"], visit, place)


def go(visit: Visit) -> dict[str, str]:
    """Run the program on lib/pq; the module proxy delivers it."""
    compiler = material.tool("go", "golang-go")
    place = material.copied(visit.folder, "go", HERE / "programs" / "go")
    material.run([compiler, "build", "-o", "peer", "."], cwd=place)
    return _run([str(place / "peer")], visit, place)
