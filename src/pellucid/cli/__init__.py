"""The command line. Its modules load torch when a command needs it, never for a help text."""

from pellucid.cli.app import main

__all__ = ["main"]
