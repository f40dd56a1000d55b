"""The same answer, whatever runs beside it: other rows, other methods, other chunks, modes and memory layouts."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid import api
from pellucid.core.explanation import Explanation
from pellucid.core.method import Method, is_method
from pellucid.core.target import Top
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.smooth_grad import SmoothGrad, VarGrad
from pellucid.testing.ensure import NotApplicable, ensure, ensure_close, ensure_equal
from pellucid.testing.tiny import Tiny

BESIDE: tuple[Any, ...] = (Gradient(), InputXGradient(), SmoothGrad(samples=4), VarGrad(samples=4))
"""Methods that run beside the one that is checked, and share its passes where they can."""


def explained(
    method: Method, model: Tiny, x: Tensor | None = None, *, target: Any = 0, rows: Any = "auto", **how: Any
) -> Explanation:
    """One method on one model of the zoo, for class 0 unless told otherwise."""
    return api.explain(api.wrap(model.module, rows=rows, **how), model.x if x is None else x, [method], target=target)[
        0
    ]


def seen_at(method: Method, site: str | None) -> Method:
    """The method measured at a given layer, where it would choose one itself; inside combinators too."""
    given: dict[str, Any] = {}
    for f in fields(method):  # pyright: ignore[reportArgumentType]
        value = getattr(method, f.name)
        if f.name == "at" and value == "auto" and site is not None:
            given["at"] = site
        elif is_method(value):
            given[f.name] = seen_at(value, site)
    return replace(method, **given)  # pyright: ignore[reportArgumentType]


def steady(model: Tiny) -> None:
    """Comparisons of numbers say nothing about a model that draws at random."""
    if "stochastic" in model.traits:
        raise NotApplicable("the model draws random numbers")


@contextmanager
def elsewhere() -> Generator[None]:
    """The global random states of torch, numpy and Python somewhere else for a while."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state that others move
    with torch.random.fork_rng(devices=[]):
        try:
            _ = torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def rows_do_not_see_each_other(method: Method, model: Tiny) -> None:
    """Row i alone, in another order, and beside strangers is row i."""
    steady(model)
    x, whole = model.x, explained(method, model).values
    backwards = explained(method, model, x.flip(0)).values.flip(0)
    ensure_close(backwards, whole, "rows in another order")
    alone = torch.cat([explained(method, model, row[None]).values for row in x])
    ensure_close(alone, whole, "one row at a time")
    strangers = torch.cat([x[1:2], 0.5 * x, 1 - x[:2]])
    ensure_close(explained(method, model, strangers).values[:1], whole[1:2], "beside strangers")


def chunks_do_not_matter(method: Method, model: Tiny) -> None:
    """1, 2, 3 and 7 model rows at once give what a free choice gives."""
    steady(model)
    whole = explained(method, model)
    for rows in (1, 2, 3, 7):
        cut = explained(method, model, rows=rows)
        ensure_close(cut.values, whole.values, f"{rows} rows at once")
        if whole.std_error is not None and cut.std_error is not None:
            ensure_close(cut.std_error, whole.std_error, f"standard errors with {rows} rows at once", 1e-6)


def fusing_does_not_matter(method: Method, model: Tiny) -> None:
    """Alone and beside other methods, first and last, for several targets at once."""
    steady(model)
    alone = explained(method, model).values
    handle = api.wrap(model.module)
    last = api.explain(handle, model.x, [*BESIDE, method], target=0)
    ensure_close(last[len(BESIDE)].values, alone, "behind other methods")
    first = api.explain(handle, model.x, [method, *BESIDE], target=0)
    ensure_close(first[0].values, alone, "before other methods")
    others = [api.explain(handle, model.x, [one], target=0)[0].values for one in BESIDE]
    for got, wanted, one in zip(list(first)[1:], others, BESIDE, strict=True):
        ensure_close(got.values, wanted, f"{one.about.title}, which ran beside it")


def targets_do_not_see_each_other(method: Method, model: Tiny) -> None:
    """Two targets at once are each target alone; Top(1) is the class that it names."""
    steady(model)
    handle = api.wrap(model.module)
    best = api.explain(handle, model.x, [method], target=Top(1))[0]
    for i, index in enumerate(best.target.index):
        alone = explained(method, model, model.x[i : i + 1], target=index)
        ensure_close(best.values[i : i + 1], alone.values, f"the top class of row {i + 1}")
    if len(best.prediction.index[0]) < 2:
        return
    both = api.explain(handle, model.x, [method], target=[0, 1])
    for i, got in enumerate(both):
        ensure_close(got.values, explained(method, model, target=i).values, f"target {i} beside the other")


def same_seed_same_bits(method: Method, model: Tiny) -> None:
    """The same call twice gives the same bits, wherever the global random states are; another seed gives others."""
    once = explained(method, model)
    ensure_equal(explained(method, model).values, once.values, "the same call twice")
    if "stochastic" not in model.traits:
        with elsewhere():
            moved = explained(method, model)
        ensure_equal(moved.values, once.values, "with the global random states elsewhere")
    seeded = [f.name for f in fields(method) if f.name == "seed"]  # pyright: ignore[reportArgumentType]
    if not seeded:
        return
    same = explained(replace(method, seed=7), model).values  # pyright: ignore[reportArgumentType]
    ensure_equal(explained(replace(method, seed=7), model).values, same, "seed 7 twice")  # pyright: ignore
    if once.std_error is not None and bool(once.std_error.any()):
        ensure(not torch.equal(same, once.values), "seeds 0 and 7 give the same numbers", "draws that follow the seed")


def modes_do_not_matter(method: Method, model: Tiny) -> None:
    """no_grad, inference_mode, autocast, train mode, frozen weights, deterministic algorithms: the same numbers."""
    steady(model)
    plain = explained(method, model).values
    with torch.no_grad():
        ensure_close(explained(method, model).values, plain, "under no_grad")
    with torch.inference_mode():
        ensure_close(explained(method, model).values, plain, "under inference_mode")
        ensure_close(explained(method, model, model.x.clone()).values, plain, "with an inference tensor")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ensure_close(explained(method, model).values, plain, "under autocast")
    flags = {each: each.training for each in model.module.modules()}
    model.module.train()
    ensure_close(explained(method, model).values, plain, "in train mode")
    for each, flag in flags.items():
        each.training = flag
    wanted = {p: p.requires_grad for p in model.module.parameters()}
    for frozen in (False, True):
        model.module.requires_grad_(frozen)
        ensure_close(explained(method, model).values, plain, f"with requires_grad={frozen}")
    for p, flag in wanted.items():
        p.requires_grad_(flag)


def layouts_do_not_matter(method: Method, model: Tiny) -> None:
    """Non-contiguous, expanded, transposed, requires-grad and channels-last inputs are their values."""
    steady(model)
    x, plain = model.x, explained(method, model).values
    wide = torch.stack([x, -x], -1)[..., 0]
    ensure_close(explained(method, model, wide).values, plain, "non-contiguous rows")
    turned = x.transpose(0, -1).contiguous().transpose(0, -1)
    ensure_close(explained(method, model, turned).values, plain, "transposed rows")
    one = x[:1].expand(3, *x.shape[1:])
    ensure_close(explained(method, model, one).values, plain[:1].expand(3, *plain.shape[1:]), "expanded rows")
    ensure_close(explained(method, model, x.clone().requires_grad_()).values, plain, "rows that require gradients")
    if model.pictures:
        last = x.contiguous(memory_format=torch.channels_last)
        ensure_close(explained(method, model, last).values, plain, "channels-last rows")
