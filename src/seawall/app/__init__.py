"""Where the parts are joined: configuration, composition, lifecycle."""
