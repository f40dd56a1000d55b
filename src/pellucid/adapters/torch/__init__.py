"""Models written in torch."""

from pellucid.adapters.torch.model import TorchModel

__all__ = ["TorchModel"]
