"""One file, one metric, or one family that shares its questions. Metrics know neither each other nor the engine."""

from __future__ import annotations

from pellucid.metrics.deletion import Deletion as Deletion
from pellucid.metrics.deletion import Insertion as Insertion
from pellucid.metrics.deletion import InsertionDeletion as InsertionDeletion
