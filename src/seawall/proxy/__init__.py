"""The PostgreSQL data plane: a proxy that clients take for the database."""
