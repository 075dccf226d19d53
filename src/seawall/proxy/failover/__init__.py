"""Following the primary, and making one: the supervisor's side of failing over."""
