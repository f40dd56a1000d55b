"""Tutorials, to be read from top to bottom: each is a page of `docs/tutorials`, and runs in under a minute."""
