"""A sample day over a running system: what happens in it is real, only the people are invented."""
