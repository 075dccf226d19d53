import pytest

from tests.telemetry.otlp.collectors import make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Files for TLS, made once."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
