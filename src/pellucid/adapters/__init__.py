"""One framework each, imported only when such a model appears."""

from __future__ import annotations

from pellucid.adapters.function import FunctionModel as FunctionModel
from pellucid.adapters.function import FunctionSession
from pellucid.adapters.torch import TorchModel as TorchModel
from pellucid.adapters.torch.session import TorchSession

Handle = TorchModel | FunctionModel
"""What `pellucid.wrap` and `pellucid.load` give."""
Ready = TorchSession | FunctionSession
"""What such a handle gives for rows of one shape."""
