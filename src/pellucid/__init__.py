"""Why did the model say that, and can the answer be trusted?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pellucid import images as images
    from pellucid import registry as registry
    from pellucid import views as views
    from pellucid import zoo as zoo
    from pellucid.api import cite as cite
    from pellucid.api import compare as compare
    from pellucid.api import explain as explain
    from pellucid.api import layers as layers
    from pellucid.api import load as load
    from pellucid.api import plan as plan
    from pellucid.api import wrap as wrap
    from pellucid.core.explanation import Explanation as Explanation
    from pellucid.core.explanation import Explanations as Explanations
    from pellucid.core.explanation import Kind as Kind

# Names are fetched when they are first used: `pellucid --help` need not wait for torch.
_HOMES = {
    "pellucid.api": ("wrap", "load", "explain", "compare", "plan", "layers", "cite"),
    "pellucid.core.explanation": ("Explanation", "Explanations", "Kind"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_PARTS = ("images", "registry", "views", "zoo")


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _PARTS:
        value = import_module(f"pellucid.{name}")
    else:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_PARTS})
