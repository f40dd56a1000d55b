"""The axioms that methods declare in `keeps`, checked in numbers on models where the answer is known."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from pellucid import api
from pellucid.core.explanation import Explanation
from pellucid.core.method import Method
from pellucid.ops.reference import reference
from pellucid.preprocess import Preprocess
from pellucid.testing import tiny
from pellucid.testing.answers import explained, seen_at
from pellucid.testing.ensure import NotApplicable, ensure, ensure_close
from pellucid.testing.tiny import Tiny

GAP = 0.02
"""Part of the difference of scores that may be missing on a curved model, where an integral is approximated."""


def completeness(method: Method) -> None:
    """Σ a = s(x) − s(b): exact on a linear model, within the error of the integral on a smooth one.

    b is the method's own `baseline`; the scores are computed here, without the engine. A method without a baseline
    is held to its own check of that name.
    """
    for name, limit in (("linear_pictures", 1e-9), ("smooth", GAP)):
        model = tiny.make(name)
        if model.site is None and getattr(method, "at", None) == "auto":
            continue
        for target in (0, 1):
            e = explained(method, model, target=target)
            own = [check for check in e.checks if check.name == "completeness"]
            ensure(bool(own), "no check named completeness travels with the result", "one, with its value per row")
            if limit == GAP:
                ensure(all(own[0].passed), f"its own completeness check is red on {name}: {own[0].value}")
            difference = _difference(method, model, target)
            if difference is not None:
                gap = (e.values.flatten(1).sum(1) - difference).abs() / difference.abs()
                ensure(bool((gap <= limit).all()), f"on {name} the sum misses {gap.tolist()}", f"at most {limit:g}")


def _difference(method: Method, model: Tiny, target: int) -> Tensor | None:
    spec: Any = getattr(method, "baseline", None)
    if spec is None:
        return None
    with torch.no_grad():
        start = reference(spec, model.x, Preprocess.identity()).expand_as(model.x)
        return (model.module(model.x) - model.module(start))[:, target]


class Blind(nn.Module):
    """A picture model that never looks at the upper half."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[2] // 2
        return self.inner(torch.cat([torch.ones_like(x[:, :, :half]), x[:, :, half:]], 2))


def dummy(method: Method) -> None:
    """What the model never looks at gets exactly nothing; what it looks at gets something.

    Only the first line of pixels is judged: methods that hide whole windows may reach over the border of the half.
    """
    model = tiny.make("smooth")
    blind = Tiny(name="blind", module=Blind(model.module), x=model.x, site=None, group="", traits=frozenset({"smooth"}))
    values = explained(method, blind).values
    ensure(values.shape[-2:] == model.x.shape[-2:], f"values of shape {tuple(values.shape)}", "one per pixel")
    ensure(not bool(values[..., 0, :].any()), f"ignored pixels get up to {float(values[..., 0, :].abs().max()):.3g}")
    ensure(bool(values[..., -1, :].any()), "pixels that the model uses get nothing")


class Mixed(nn.Module):
    """a f(x) + b g(x)."""

    def __init__(self, f: nn.Module, g: nn.Module, a: float, b: float) -> None:
        super().__init__()
        self.f, self.g, self.a, self.b = f, g, a, b

    def forward(self, x: Tensor) -> Tensor:
        return self.a * self.f(x) + self.b * self.g(x)


def linear(method: Method) -> None:
    """The explanation of a f + b g is a times that of f plus b times that of g."""
    f, g = tiny.make("smooth"), tiny.make("convnet")
    mixed = Mixed(f.module, g.module, 2.0, -3.0)
    parts = [
        api.explain(api.wrap(net), f.x, [method], target=1, output="logit")[0] for net in (mixed, f.module, g.module)
    ]
    whole, of_f, of_g = (part.values for part in parts)
    ensure_close(whole, 2 * of_f - 3 * of_g, "2 f − 3 g")


class Swapped(nn.Module):
    """f(x) + f(x with the left and right half exchanged): the same for both halves."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.inner(torch.roll(x, x.shape[-1] // 2, -1))


def symmetry(method: Method) -> None:
    """Inputs that the model treats alike and that have equal values get equal shares."""
    inner = tiny.make("smooth")
    half = inner.x[..., : inner.x.shape[-1] // 2]
    x = torch.cat([half, half], -1)
    made = Tiny(name="swapped", module=Swapped(inner.module), x=x, site=None, group="", traits=frozenset({"smooth"}))
    values = explained(method, made).values
    left, right = values.chunk(2, -1)
    ensure_close(left, right, "the halves of a symmetric picture")
    ensure(bool(left.any()), "nothing was explained")


def implementation_invariance(method: Method) -> None:
    """Models that compute the same function with the same weights get the same explanation."""
    groups = sorted({entry.group for entry in tiny.ZOO.values()} - {""})
    compared = 0
    for group in groups:
        compared += len(agreeing(method, group))
    if not compared:
        raise NotApplicable("the method explains none of the models that are written in several ways")


def agreeing(method: Method, group: str) -> tuple[Explanation, ...]:
    """The explanations of all models of a group, after it was checked that they agree."""
    models = [tiny.make(name) for name in tiny.names(group=group)]
    placed = seen_at(method, models[0].site)
    found = tuple(explained(placed, model) for model in models)
    for model, e in zip(models[1:], found[1:], strict=True):
        ensure_close(e.values, found[0].values, f"{model.name} beside {models[0].name}")
    return found


def sampled(method: Method) -> bool:
    """Whether a method draws at random."""
    return any(f.name == "seed" for f in fields(method))  # pyright: ignore[reportArgumentType]
