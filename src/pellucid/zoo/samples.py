"""Eight photos to try a model on, from scikit-image: four as they are, and a part of each."""

from __future__ import annotations

from pellucid.images import Photo, read
from pellucid.zoo.packages import need

WHOLE = {"cat": "chelsea", "coffee": "coffee", "astronaut": "astronaut", "rocket": "rocket"}
PARTS = {
    "cat, its face": ("chelsea", (20, 290), (90, 360), False),
    "coffee, mirrored part": ("coffee", (40, 390), (150, 530), True),
    "astronaut, mirrored part": ("astronaut", (0, 420), (60, 480), True),
    "rocket, its middle": ("rocket", (40, 400), (180, 540), False),
}
"""Rows and columns that are kept, and whether left and right change places."""


def eight_photos() -> tuple[Photo, ...]:
    """Four photos, then a part of each: not eight independent ones, and their names say so.

    Errors: InputError if the extra `demo` is not installed.
    """
    data = need("skimage.data", "demo", "A sample photo")
    found = [read(getattr(data, source)(), name=name) for name, source in WHOLE.items()]
    for name, (source, (top, end), (left, right), mirrored) in PARTS.items():
        part = getattr(data, source)()[top:end, left:right]
        found.append(read(part[:, ::-1].copy() if mirrored else part.copy(), name=name))
    return tuple(found)
