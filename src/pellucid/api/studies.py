"""The verbs about many rows: surrogate. They bring data to rows, ask the model, and leave the rest to `studies`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pellucid.adapters import Handle
from pellucid.api.answers import features_of, rows_of, said_of
from pellucid.api.entries import references_of
from pellucid.api.models import as_model
from pellucid.core.ask import Attribution, Query, attribution
from pellucid.core.errors import InputError, ParameterError, TargetError
from pellucid.core.explanation import Inputs
from pellucid.core.target import Asked, Output, Top, as_targets
from pellucid.engine import Task, run
from pellucid.ops.designs import DESIGNS, Design
from pellucid.ops.games import Game, Played
from pellucid.studies.surrogate import Recipe, Surrogate, fitted
from pellucid.studies.terms import Feature


def surrogate(
    model: Handle | nn.Module | str,
    data: Any,
    kind: Literal["tree", "linear"] = "tree",
    *,
    target: Asked = None,
    output: Output | None = None,
    depth: int = 3,
    leaf: int = 5,
    features: int = 5,
    held_out: float = 0.25,
    samples: int = 1000,
    regions: Any = "auto",
    fill: Any = "auto",
    design: str = "coin",
    seed: int = 0,
) -> Surrogate:
    """A model that one can read, fitted to what the model says; `print` it, or draw it with `views.surrogate`.

    How far the two agree is measured on rows that were held out, and low fidelity is a warning.

    model     as in `explain`
    data      a table, or one picture: then the surrogate reads which of its regions are shown
    kind      `tree` (needs scikit-learn), or `linear`: a few columns, chosen on the path of the lasso
    target    the class (or contrast, or function) whose number is predicted; None: of a table's classes a tree predicts
              which one the model says, a linear model the number of the one that it says most; of a picture the top one
    output    what number of the target; the probability, where the model has one
    depth     questions from the root of a tree to a leaf, at most
    leaf      rows in a leaf, at least
    features  terms of a linear model, at most
    held_out  part of the rows that fidelity is measured on
    samples, regions, fill, design   of a picture: coalitions of regions, as in `LIME`
    seed      draws the coalitions and the rows held out
    Raises InputError for other data, ParameterError and TargetError for what cannot be used.
    """
    handle = as_model(model)
    recipe = Recipe(kind=kind, depth=depth, leaf=leaf, most=features, held_out=held_out, seed=seed)
    recipe.check()
    rows, inputs = rows_of(handle, data)
    if rows.ndim == 4:
        played = _Played(regions, fill, _design(design, samples, seed))
        values, name = played.scores(handle, rows, target, output)
        shown = played.found[0].design.shown.double()
        columns = tuple(Feature(name=f"region {i}", shown=True) for i in range(shown.shape[1]))
        made = fitted(shown, values, columns, recipe, (name,), handle.name)
        return replace(made, picture=_picture(inputs), regions=played.game.labels[0].cpu())
    if rows.ndim != 2 or not rows.is_floating_point():
        raise InputError(f"rows of shape {tuple(rows.shape[1:])}", "a table, or one picture")
    said = said_of(handle, rows)
    if kind == "tree" and target is None and said.classes is not None:
        values, answers = said.classes, said.answers
    else:
        values, name = said.number(target, output)
        answers = (name,)
    return fitted(rows, values, features_of(handle, inputs, rows.shape[1]), recipe, answers, handle.name)


def _picture(inputs: Inputs) -> Tensor | None:
    return None if inputs.picture is None else inputs.picture[0].cpu()


def _design(design: str, samples: int, seed: int) -> Callable[[int], Design]:
    if design not in DESIGNS:
        raise ParameterError(f"design={design!r}", f"one of {', '.join(DESIGNS)}")
    if isinstance(samples, bool) or samples < 4:
        raise ParameterError(f"samples={samples!r}", "a whole number, 4 or more")
    return partial(DESIGNS[design], samples=samples, seed=seed)


class _Played:
    """A game played for its scores alone, by the engine."""

    game: Game
    found: list[Played]

    def __init__(self, regions: Any, fill: Any, design: Callable[[int], Design]) -> None:
        self.regions, self.fill, self.design = regions, fill, design

    async def explain(self, q: Query) -> Attribution:
        self.game = Game.of(q, self.regions, self.fill)
        self.found = await self.game.play(q, self.design)
        return attribution(self.found[0].scores[:, None, :1])

    def scores(self, handle: Handle, x: Tensor, target: Asked, output: Output | None) -> tuple[Tensor, str]:
        """The scores of all coalitions of one picture, float64 [samples], and what the number is called."""
        targets = as_targets(target)
        if len(x) != 1:
            raise InputError(f"{len(x)} pictures", "one: regions of different pictures are different things")
        if len(targets) != 1 or (isinstance(targets[0], Top) and targets[0].k > 1):
            raise TargetError(f"target={target!r} of a surrogate", "a single target")
        with handle.ready(x) as session:
            asked: Output = output or ("logit" if session.emits == "values" else "probability")
            method: Any = self  # which no registry knows
            result = run(session, x, [Task(method, targets, asked)], references_of(handle)).results[0]
            name = result.picks[0].chosen(torch.zeros(1), session.labels).name[0]
        return self.found[0].scores[0], f"{asked.replace('_', ' ')} of {name}"
