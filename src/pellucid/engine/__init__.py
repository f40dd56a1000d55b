"""Answers the questions of all running methods, images and targets in shared passes."""

from pellucid.engine.known import Known
from pellucid.engine.run import Outcome, Result, Task, run

__all__ = ["Known", "Outcome", "Result", "Task", "run"]
