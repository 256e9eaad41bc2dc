"""The rules of clocks; pure: no I/O, `now` is an argument."""
