"""Regions of pictures: which pixels are hidden together. Every class maps pixels to the number of every pixel's region.

A region maker is a callable `(pixels [batch, channel, height, width], 0 black … 1 white) -> labels`, int64
[batch, height, width]. Each picture is cut by itself and its regions are numbered 0 … n − 1.
"""

from __future__ import annotations

from pellucid.regions.cells import Cells as Cells
from pellucid.regions.choice import NAMES as NAMES
from pellucid.regions.choice import as_regions as as_regions
from pellucid.regions.choice import cut as cut
from pellucid.regions.felzenszwalb import Felzenszwalb as Felzenszwalb
from pellucid.regions.given import Labels as Labels
from pellucid.regions.quickshift import Quickshift as Quickshift
from pellucid.regions.slic import Slic as Slic
