"""Models by name: `timm:resnet18`, `torchvision:resnet50@IMAGENET1K_V2`, `hf:google/vit-base-patch16-224`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from pellucid.adapters.pipelines import EMITS, called, label_names
from pellucid.core.errors import InputError, nearest
from pellucid.preprocess import INTERPOLATIONS, Preprocess, Tokens
from pellucid.zoo.labels import imagenet1k
from pellucid.zoo.packages import need


class Named(NamedTuple):
    """A model with what belongs to it.

    module      in eval mode, on the CPU; or a Keras model
    preprocess  from a photo, or a text, to its row
    labels      the name of each output; None where they are not known
    emits       what the outputs are, where the model says so; None where it has to be found out
    """

    module: Any
    preprocess: Preprocess | Tokens
    labels: tuple[str, ...] | None
    emits: str | None = None


def from_timm(name: str, pretrained: bool) -> Named:
    """A classifier of timm, with the evaluation preprocessing of its weights.

    name  as timm writes it: "resnet18", "resnet18.a1_in1k"
    """
    what = f"The model 'timm:{name}'"
    timm: Any = need("timm", "timm", what)
    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        raise InputError(f"timm has no model {name!r}.", near and f"one such as {near}.", "see timm.list_models().")
    module = _made(what, lambda: timm.create_model(name, pretrained=pretrained))
    config: dict[str, Any] = timm.data.resolve_data_config({}, model=module)
    return Named(module.eval(), _timm_preprocess(timm, config), _timm_labels(timm, module))


def _timm_preprocess(timm: Any, config: Mapping[str, Any]) -> Preprocess:
    channels, height, width = config["input_size"]
    resize = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    mode, interpolation = config["crop_mode"] or "center", config["interpolation"]
    plain = mode == "squash" or (mode == "center" and height == width)
    if channels != 3 or not plain or interpolation not in INTERPOLATIONS:
        return Preprocess.from_callable(timm.data.create_transform(**config, is_training=False))
    return Preprocess(
        resize=resize[0] if mode == "center" else (resize[0], resize[1]),
        crop=(height, width),
        interpolation=interpolation,
        mean=config["mean"],
        std=config["std"],
    )


def _timm_labels(timm: Any, module: nn.Module) -> tuple[str, ...] | None:
    """Known for the sets of classes that timm tells apart by their number: ImageNet-1k, 12k, 21k, 22k."""
    subset = timm.data.infer_imagenet_subset(module)
    if subset is None:
        return None
    if getattr(module, "num_classes", None) == len(imagenet1k()):
        return imagenet1k()
    return tuple(timm.data.ImageNetInfo(subset).label_descriptions())


def from_torchvision(name: str, pretrained: bool) -> Named:
    """A classifier of torchvision, with the preprocessing and the class names of its weights.

    name  "resnet50", or "resnet50@IMAGENET1K_V2" for certain weights; without them, the newest
    """
    what = f"The model 'torchvision:{name}'"
    models: Any = need("torchvision.models", "torchvision", what)
    family, _, tag = name.partition("@")
    every = models.list_models(module=models)
    if family not in every:
        near = nearest(family, every)
        raise InputError(f"torchvision has no model {family!r}.", near and f"one such as {near}.")
    weights = _torchvision_weights(models, family, tag)
    module = _made(what, lambda: _torchvision_module(models, family, weights, pretrained))
    return Named(module.eval(), _torchvision_preprocess(weights.transforms()), tuple(weights.meta["categories"]))


def _torchvision_weights(models: Any, family: str, tag: str) -> Any:
    known = {weights.name: weights for weights in models.get_model_weights(family)}
    if tag and tag not in known:
        raise InputError(f"{family} has no weights {tag!r}.", f"{', '.join(known)}.")
    return known[tag] if tag else models.get_model_weights(family).DEFAULT


def _torchvision_module(models: Any, family: str, weights: Any, pretrained: bool) -> nn.Module:
    inception = family in ("googlenet", "inception_v3")  # their released weights expect inputs normalised once more
    options = {"init_weights": False, "transform_input": pretrained} if inception else {}
    module: nn.Module = models.get_model(family, weights=None, **options)
    if pretrained:
        module.load_state_dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    return module


def _torchvision_preprocess(transform: Any) -> Preprocess:
    """Declared where the transform is torchvision's usual one, so that it is known exactly and described in words."""
    resize, crop = getattr(transform, "resize_size", None), getattr(transform, "crop_size", None)
    interpolation = getattr(getattr(transform, "interpolation", None), "value", "")
    if not crop or interpolation not in INTERPOLATIONS:
        return Preprocess.from_callable(transform)
    return Preprocess(
        resize=_side(resize) if resize else None,
        crop=_side(crop),
        interpolation=interpolation,
        mean=transform.mean,
        std=transform.std,
    )


def _side(size: list[int]) -> int | tuple[int, int]:
    return size[0] if len(size) == 1 else (size[0], size[1])


def from_hugging_face(name: str, pretrained: bool) -> Named:
    """A classifier of images or texts from the Hugging Face hub or from a folder, with all that belongs to it.

    name  "google/vit-base-patch16-224", or the path of a folder written by `save_pretrained`
    The configuration decides whether pictures or texts are classified. Weights are read from safetensors only; code
    from the hub is never run.
    Errors: InputError for models of another task, and for weights without a classifier, which would be random.
    """
    what = f"The model 'hf:{name}'"
    transformers: Any = need("transformers", "hf", what)
    name = os.path.expanduser(name)
    if name.startswith((os.sep, ".")) and not os.path.isdir(name):
        raise InputError(f"{what}: there is no folder {name}", "a folder written by save_pretrained, or OWNER/NAME")
    config = _made(what, lambda: transformers.AutoConfig.from_pretrained(name, trust_remote_code=False))
    texts = _reads_texts(transformers, config, what)
    auto = transformers.AutoModelForSequenceClassification if texts else transformers.AutoModelForImageClassification

    def make() -> tuple[nn.Module, list[str]]:
        if not pretrained:
            return auto.from_config(config, trust_remote_code=False), []
        safe = {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
        module, info = auto.from_pretrained(name, **safe)
        return module, sorted(info["missing_keys"])

    module, missing = _made(what, make)
    if missing:
        raise InputError(
            f"{what} comes without weights for {', '.join(missing[:3])}: they would be random",
            "a model that was trained to classify",
            "use pretrained=False where random weights are meant",
        )
    way = transformers.AutoTokenizer if texts else transformers.AutoImageProcessor
    own = _made(what, lambda: way.from_pretrained(name, trust_remote_code=False))
    preprocess = Tokens.of(own, places(module)) if texts else Preprocess.from_callable(own)
    return Named(module.eval(), preprocess, _hf_labels(module), EMITS.get(str(getattr(config, "problem_type", ""))))


def _reads_texts(transformers: Any, config: Any, what: str) -> bool:
    """Whether a model classifies texts rather than pictures: by the class it was saved from, else by its kind."""
    saved = [str(name) for name in getattr(config, "architectures", None) or ()]
    if any("ForSequenceClassification" in name for name in saved):
        return True
    if any("ForImageClassification" in name for name in saved):
        return False
    pictures = type(config) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    texts = type(config) in transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if pictures == texts:
        kind = saved[0] if saved else getattr(config, "model_type", type(config).__name__)
        raise InputError(
            f"{what} is {kind}",
            "a classifier of images or of texts",
            "load it with transformers, and pass it to pellucid.wrap",
        )
    return texts


def places(module: nn.Module) -> int | None:
    """Most tokens of one text that a model of texts has places for; None where nothing limits them."""
    most = getattr(getattr(module, "config", None), "max_position_embeddings", None)
    tables = [m for n, m in module.named_modules() if n.endswith("position_embeddings") and isinstance(m, nn.Embedding)]
    taken = max((table.padding_idx + 1 for table in tables if table.padding_idx is not None), default=0)
    return None if most is None else int(most) - taken  # RoBERTa's places begin behind that of padding


def _hf_labels(module: nn.Module) -> tuple[str, ...] | None:
    return called(label_names(module.config))


def _made(what: str, make: Callable[[], Any]) -> Any:
    """Whatever `make` gives, without moving the caller's random state."""
    try:
        with torch.random.fork_rng(devices=[]):
            return make()
    except Exception as error:  # each hub, cache and network library has its own
        raise InputError(
            f"{what} cannot be had ({type(error).__name__}: {str(error)[:300]}).",
            "a known name, and its files in the local cache or the hub within reach.",
            "download it where there is a network, or use pretrained=False for random weights.",
        ) from error
