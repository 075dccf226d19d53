"""The application around the parts: the configuration file, and what puts the parts together."""
