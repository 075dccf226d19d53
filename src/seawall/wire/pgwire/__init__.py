"""PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2, for both roles, without a socket.

Source of everything here: PostgreSQL documentation, part VII, chapter "Frontend/Backend Protocol".
"""
