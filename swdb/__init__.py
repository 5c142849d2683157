"""Reproduces Tables 1-4 of the supplement of the strong-weak dual-branch network."""
