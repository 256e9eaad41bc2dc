"""`supportctl`: what an operator asks a running system, on the command line."""
