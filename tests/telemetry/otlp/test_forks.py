import asyncio
import os
import sys

import pytest

from tests.telemetry.otlp.collectors import Collector


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_child_exports_its_own_spans_over_its_own_connection():
    """And its parent goes on, on the connection that it had."""

    async def main():
        async with Collector() as collector:
            program = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-W",
                    "ignore::DeprecationWarning",
                    "-m",
                    "tests.telemetry.otlp.forking",
                    collector.url,
                ),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stderr=asyncio.subprocess.PIPE,
            )
            _, errors = await asyncio.wait_for(program.communicate(), 20)
            assert program.returncode == 0, errors.decode()
            names = collector.names
            assert names[:2] == ["parent before", "child"]
            assert sorted(names[2:]) == ["parent after", "parent waiting"]
            assert collector.connections == 2

    asyncio.run(main())
