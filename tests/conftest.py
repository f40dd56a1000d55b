"""Lets torchvision be imported beside a torch it was not built for; for tests only, never shipped.

torchvision's wheels carry compiled operators for one build of torch. Beside another (a CPU build, say) they do not
load, and `import torchvision` stops at the missing operators, taking timm and grad-cam with it. Declaring the two
operators that the import looks up is enough: models and transforms need no compiled code.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

pytest_plugins = ["pellucid.pytest_plugin"]  # found by itself where pellucid is installed, and then the same one


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
