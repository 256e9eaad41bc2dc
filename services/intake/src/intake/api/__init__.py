"""The HTTP edge: parse, call a handler, answer. `routes` is the page to read first."""
