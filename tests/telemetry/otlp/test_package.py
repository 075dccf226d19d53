import subprocess
import sys

import seawall.telemetry.otlp as package


def test_what_is_public_exists():
    assert sorted(package.__all__) == package.__all__
    assert all(hasattr(package, name) for name in package.__all__)


def test_neither_sdk_nor_protocol_buffers_nor_grpc_are_loaded():
    program = (
        "import sys, seawall.telemetry.otlp as otlp\n"
        "otlp.exporter_to(otlp.OtlpSettings(), None)\n"
        "foreign = {'opentelemetry.sdk', 'google.protobuf', 'grpc', 'httpx'}\n"
        "print(sorted(foreign & set(sys.modules)))"
    )
    path = f"import sys; sys.path[:0] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
