"""Class names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def imagenet1k() -> tuple[str, ...]:
    """The 1000 classes of ImageNet-1k (ILSVRC 2012) in their usual order; every name occurs once."""
    return tuple(files("pellucid.zoo").joinpath("imagenet1k.txt").read_text("utf-8").splitlines())
