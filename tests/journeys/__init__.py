"""Through the whole system, in running processes."""
