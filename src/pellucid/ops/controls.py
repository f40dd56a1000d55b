"""Maps that know nothing of the model: what a method has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pellucid.core.explanation import HEIGHT, WIDTH, Explanation, Kind, Record
from pellucid.core.points import generator

CONTROLS = {"control_random": "Random map", "control_edges": "Edges", "control_centre": "Centre"}
"""Names and titles."""


def control_maps(explanations: Sequence[Explanation]) -> list[Explanation]:
    """Controls beside the first explanation of every class and set of inputs: those that its inputs allow.

    They know no model, so that they say the same of a class whichever number of it is explained.
    `random` is drawn from the name of every input, so that it does not depend on the others; `edges` and `centre` need
    pictures.
    """
    made: list[Explanation] = []
    seen: set[tuple[object, ...]] = set()
    for e in explanations:
        key = (e.target.name, e.inputs.name, e.inputs.shape)
        if key not in seen:
            seen.add(key)
            made += [_control(e, name, values) for name, values in _maps(e).items()]
    return made


def _maps(e: Explanation) -> dict[str, Tensor]:
    shape, names = tuple(e.inputs.shape), e.inputs.name
    places = shape[1:] if len(shape) == 3 else shape
    draws = [torch.randn(places, generator=generator(0, "control", name), dtype=torch.float64) for name in names]
    made = {"control_random": torch.stack(draws)}
    if e.inputs.picture is not None and len(places) == 2:
        made["control_edges"] = edges(e.inputs.picture)
        made["control_centre"] = centre(places[0], places[1]).expand(len(draws), -1, -1)
    return made


def edges(pictures: Tensor) -> Tensor:
    """|∇| of the brightness by Sobel's filter, [batch, height, width], of uint8 [batch, height, width, 3]."""
    grey = pictures.double().mean(-1)[:, None] / 255
    padded = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    down = padded.new_tensor([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    kernel = torch.stack([down, down.T])[:, None]
    return torch.nn.functional.conv2d(padded, kernel).square().sum(1).sqrt()


def centre(height: int, width: int) -> Tensor:
    """A Gaussian hill in the middle, a quarter of each side wide."""
    down, across = (torch.linspace(-2, 2, n, dtype=torch.float64) for n in (height, width))
    return torch.exp(-(down[:, None] ** 2 + across**2) / 2)


def _control(e: Explanation, name: str, values: Tensor) -> Explanation:
    record = Record(method=name, title=CONTROLS[name], params={}, cite=(), model=e.record.model)
    dims = (e.dims[0], HEIGHT, WIDTH) if values.ndim == 3 else (e.dims[0], "feature")
    return replace(
        e, values=values, dims=dims, kind=Kind.CAM, record=record, checks=(), std_error=None, look=None, extras={}
    )
