"""Why did the model say that, and can the answer be trusted?"""

from __future__ import annotations

__version__ = "0.1.0"

from pellucid.api import compare as compare
from pellucid.api import explain as explain
from pellucid.api import layers as layers
from pellucid.api import load as load
from pellucid.api import plan as plan
from pellucid.api import wrap as wrap
from pellucid.core.explanation import Explanation as Explanation
from pellucid.core.explanation import Explanations as Explanations
from pellucid.core.explanation import Kind as Kind
