"""The version, read by the build and by ``seawall --version``."""

__version__ = "0.1.0"
