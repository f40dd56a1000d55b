"""Examinations of the way from a photo to a row."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.api.checkup.patient import NotExamined, Patient
from pellucid.core.diagnosis import Finding
from pellucid.core.errors import PellucidError
from pellucid.preprocess import Preprocess

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLEARER = 1.0
"""How much further the best class must stand out, in standard deviations of the scores, before another reading of the
photos is called more likely. Measured on six photos, EfficientNet-Lite0 loses
2 to 5 by wrong ranges, 0 to 1.4 by swapped channels.
"""
CLASSES = 10
"""Outputs below which it says little how far the best one stands out."""


def config(patient: Patient) -> Iterator[Finding]:
    """Does the preprocessing do what the model's own configuration asks for?"""
    preprocess, module = _front(patient), patient.module
    wanted = _configured(module)
    if not wanted:
        raise NotExamined("the model carries no configuration of its preprocessing")
    link = preprocess.affine
    if link is None:
        raise NotExamined("the preprocessing is not affine in pixels")
    if preprocess.is_identity:
        raise NotExamined("rows are given as they are")
    sources = sorted({one["from"] for one in wanted})
    found = (_normalisation(link), preprocess.order, preprocess.channels)
    if not any(_same_numbers(found[0], one) for one in wanted if "mean" in one) and any("mean" in o for o in wanted):
        one = next(o for o in wanted if "mean" in o)
        yield Finding(
            name="normalisation",
            severity="error",
            says=f"mean and std are not those of the model's own configuration ({', '.join(sources)})",
            evidence={"mean": found[0][0], "wanted mean": one["mean"], "std": found[0][1], "wanted std": one["std"]},
            fix=f"Preprocess(mean={_short(one['mean'])}, std={_short(one['std'])}, ...)",
        )
    if preprocess.order == "bgr":
        yield Finding(
            name="bgr",
            severity="warning",
            says=f"rows have their channels as blue, green, red; configurations of {', '.join(sources)} mean RGB",
            evidence={"order": "bgr"},
            fix='Preprocess(order="rgb", ...)',
        )
    sizes = {tuple(one["size"]) for one in wanted if "size" in one}
    seen = tuple(patient.rows.shape[-2:])
    if sizes and seen not in sizes:
        size = min(sizes)
        yield Finding(
            name="size",
            severity="warning",
            says=f"rows have another size than the model's own configuration asks for ({', '.join(sources)})",
            evidence={"height, width": seen, "wanted": sorted(sizes)},
            fix=f"Preprocess(crop={size[0] if len(set(size)) == 1 else size}, ...)",
        )


def _front(patient: Patient) -> Preprocess:
    if not isinstance(patient.handle.preprocess, Preprocess) or not patient.pictures:
        raise NotExamined
    return patient.handle.preprocess


def _normalisation(link: tuple[Sequence[float], Sequence[float]]) -> tuple[list[float], list[float]]:
    """(mean, std) of row = (pixel − mean) / std."""
    gain, offset = link
    return [-b / g + 0.0 for g, b in zip(gain, offset, strict=True)], [1 / g for g in gain]


def _same_numbers(found: tuple[list[float], list[float]], one: Mapping[str, Any]) -> bool:
    ours = torch.tensor([_three(found[0]), _three(found[1])])
    theirs = torch.tensor([_three(one["mean"]), _three(one["std"])])
    return bool((ours - theirs).abs().max() < 0.01)


def _three(numbers: Sequence[float]) -> list[float]:
    return [float(n) for n in (numbers if len(numbers) == 3 else [numbers[0]] * 3)]


def _short(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(f"{n:.4g}") for n in numbers)


def _configured(module: nn.Module) -> list[dict[str, Any]]:
    """What a model says of its preprocessing: timm's configuration, torchvision's weights, a Hugging Face folder."""
    return [*_timm(module), *_torchvision(module), *_hugging_face(module)]


def _timm(module: nn.Module) -> Iterator[dict[str, Any]]:
    held = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    if isinstance(held, Mapping) and held.get("mean") and held.get("std"):
        size = held.get("test_input_size") or held.get("input_size")
        both = {tuple(one[-2:]) for one in (size, held.get("input_size")) if one}
        for one in both or {()}:
            known = {"from": "timm", "mean": held["mean"], "std": held["std"]}
            yield known | ({"size": one} if one else {})


def _torchvision(module: nn.Module) -> Iterator[dict[str, Any]]:
    """Of a model of torchvision: what any of the weights of its family were trained with."""
    name = type(module).__module__
    if not name.startswith("torchvision.models.") or getattr(module, "transform_input", False):
        return
    for enum in vars(sys.modules[name]).values():
        if isinstance(enum, type) and enum.__name__.endswith("_Weights"):
            for weights in enum:  # pyright: ignore[reportGeneralTypeIssues]
                made = weights.transforms()
                if hasattr(made, "mean") and hasattr(made, "crop_size"):
                    side = made.crop_size
                    size = (side[0], side[0]) if len(side) == 1 else tuple(side)
                    yield {"from": "torchvision", "mean": made.mean, "std": made.std, "size": size}


def _hugging_face(module: nn.Module) -> Iterator[dict[str, Any]]:
    held = getattr(module, "config", None)
    size = getattr(held, "image_size", None)
    known: dict[str, Any] = {"from": "Hugging Face"}
    if isinstance(size, int):
        known["size"] = (size, size)
    file = Path(str(getattr(held, "_name_or_path", "") or "/nowhere")) / "preprocessor_config.json"
    if file.is_file():
        try:
            told: Any = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            told = {}
        if told.get("do_normalize", True) and told.get("image_mean") and told.get("image_std"):
            known |= {"mean": told["image_mean"], "std": told["image_std"]}
    if len(known) > 1:
        yield known


def channels(patient: Patient) -> Iterator[Finding]:
    """Would another order or range of the channels fit the photos better?

    The measure is how far the best class stands out, (max s − mean s) / std s over the classes: unlike a probability
    it does not grow when rows are simply larger.
    """
    preprocess, x = _front(patient), patient.real[:8]
    if x.shape[1] != 3:
        raise NotExamined("rows have one channel")
    declared = patient.raw(x)
    if declared.shape[1] < CLASSES:
        raise NotExamined(f"{declared.shape[1]} outputs are too few to see how far the best one stands out")
    try:
        readings = _readings(preprocess, x)
    except PellucidError as error:
        raise NotExamined("the preprocessing is not affine in pixels") from error
    clear = {"as declared": _clear(declared)} | {name: _clear(patient.raw(rows)) for name, rows in readings.items()}
    sure = {"as declared": _sure(patient, x)} | {name: _sure(patient, rows) for name, rows in readings.items()}
    best = max(clear, key=lambda name: clear[name])
    better = clear[best] > clear["as declared"] + CLEARER
    yield Finding(
        name="channels" if better else "channels_fit",
        severity="warning" if better else "note",
        says=f"the model sees more in the photos read as {best}"
        if better
        else "no other order or range of the channels fits the photos clearly better",
        evidence={"how far the best class stands out": clear, "its probability": sure, "photos": len(x)},
        fix=f"check how the model was trained; try {FIXES[best]}, on more photos"
        if better
        else "nothing to do; one photo is little evidence, several are more",
    )


FIXES = {
    "swapped channels": 'Preprocess(order="bgr") or "rgb", the other one',
    "0 to 1": "Preprocess(mean=0, std=1)",
    "0 to 255": "Preprocess(scale=255)",
    "−1 to 1": "Preprocess(mean=0.5, std=0.5)",
    "ImageNet's mean and std": "Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))",
}


def _readings(preprocess: Preprocess, x: Tensor) -> dict[str, Tensor]:
    """The same photos read in other ways; those that are what is declared are left out."""
    pixels = preprocess.to_pixels(x)
    mean, std = (x.new_tensor(numbers).view(3, 1, 1) for numbers in IMAGENET)
    every = {
        "swapped channels": x.flip(1),
        "0 to 1": pixels,
        "0 to 255": pixels * 255,
        "−1 to 1": pixels * 2 - 1,
        "ImageNet's mean and std": (pixels - mean) / std,
    }
    return {name: rows for name, rows in every.items() if float((rows - x).abs().max()) > 0.05 * float(x.abs().max())}


def _clear(scores: Tensor) -> float:
    """Mean over the photos of (max s − mean s) / std s."""
    logs = scores.clamp_min(1e-12).log() if bool(((scores.sum(1) - 1).abs() < 1e-3).all()) else scores
    return float(((logs.amax(1) - logs.mean(1)) / logs.std(1).clamp_min(1e-12)).mean())


def _sure(patient: Patient, x: Tensor) -> float:
    found = patient.probabilities(x)
    return float("nan") if found is None else float(found.amax(1).mean())
