"""Real PostgreSQL clusters on this machine, for demos, tests and trials."""
