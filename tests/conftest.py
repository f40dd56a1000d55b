"""Lets torchvision be imported beside a torch it was not built for, and bounds the memory of a process of tests.

torchvision's wheels carry compiled operators for one build of torch. Beside another (a CPU build, say) they do not
load, and `import torchvision` stops at the missing operators, taking timm and grad-cam with it. Declaring the two
operators that the import looks up is enough: models and transforms need no compiled code.
For tests only, never shipped.

A test that takes memory without end fails by a MemoryError, and does not take the machine with it.
"""

from __future__ import annotations

import resource
from importlib.util import find_spec
from pathlib import Path

import torch

pytest_plugins = ["pellucid.pytest_plugin"]  # found by itself where pellucid is installed, and then the same one
MOST_MEMORY = 10 * 2**30
"""Bytes of private memory of one process; the largest test takes about 3 GiB."""

if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, resource.RLIM_INFINITY))


def _compiled_operators_load() -> bool:
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return True
    try:
        for library in Path(found.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(library))
    except OSError:
        return False
    return True


if not _compiled_operators_load():
    _library = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
