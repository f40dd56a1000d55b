"""Explanations with known numbers, for the tests of the views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.explanation import (
    Check,
    Chosen,
    Explanation,
    Inputs,
    Kind,
    ModelCard,
    Prediction,
    Record,
)

CLASSES = ("tabby", "tiger cat", "lynx")


def planted(
    values: Tensor,
    kind: Kind = Kind.CONTRIBUTION,
    *,
    method: str = "planted",
    title: str = "Planted",
    model: str = "toy",
    target: str = "tabby",
    names: Sequence[str] | None = None,
    side: int = 24,
    checks: tuple[Check, ...] = (),
    pictures: bool = True,
    rank: int = 0,
) -> Explanation:
    """An explanation that holds `values`: [batch, height, width] or [batch, channel, height, width]."""
    rows = values.shape[0]
    dims = ("batch", "height", "width") if values.ndim == 3 else ("batch", "channel", "height", "width")
    photo = torch.arange(side * side * 3, dtype=torch.int64).remainder(251).to(torch.uint8).reshape(side, side, 3)
    return Explanation(
        values=values,
        dims=dims,
        kind=kind,
        target=Chosen(
            index=(281,) * rows, name=(target,) * rows, score=(8.25,) * rows, output="logit", asked="Top(1)", rank=rank
        ),
        prediction=Prediction(
            index=((281, 282, 287),) * rows, name=(CLASSES,) * rows, probability=((0.41, 0.25, 0.06),) * rows
        ),
        inputs=Inputs(
            name=tuple(names or (f"photo{i}.png" for i in range(rows))),
            picture=photo.expand(rows, side, side, 3).clone() if pictures else None,
            shape=(3, side, side),
            notes=((),) * rows,
        ),
        record=Record(
            method=method,
            title=title,
            params={},
            cite=(),
            model=ModelCard(name=model, fingerprint="0", evaluator="plain"),
        ),
        checks=checks,
    )
