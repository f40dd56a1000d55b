"""Answers the questions of all running methods, images and targets in shared passes."""

from pellucid.engine.run import Result, Task, run

__all__ = ["Result", "Task", "run"]
