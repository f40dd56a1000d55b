"""Examples: each a folder of its own, run from the root of the project with `python -m examples.NAME`."""
