"""Games of shap beside ours, on the same regions: all coalitions, our orders, one tree."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from tests.peers.models import Case, local
from tests.peers.with_captum import Compared
from tests.peers.with_games import MODELS, game, make, painted
from torch import Tensor

from pellucid.ops.designs import orders

PLAYERS, ORDERS = 6, 8
"""Players, and how many orders and their reverses."""


def shap() -> Any:
    import shap as peer

    return peer


def told(c: Case, name: str, masker: Any = None, **how: Any) -> Tensor:
    """What an explainer says of every row's game, [batch, player, …]; none is hidden by a zero, and shown by a one."""
    zero = np.zeros((1, PLAYERS))
    rows = []
    for x in c.x:
        made = getattr(shap(), name)(
            game(c, x, PLAYERS), shap().maskers.Independent(zero) if masker is None else masker
        )
        rows.append(torch.as_tensor(made(np.ones((1, PLAYERS)), silent=True, **how).values)[0])
    return torch.stack(rows)


def permuted(c: Case) -> Tensor:
    """shap's permutations, which are handed our orders; it goes through every one of them there and back."""
    first = orders(PLAYERS, ORDERS, 0, antithetic=True)[::2].argsort(1).numpy()
    left = iter([*first] * len(c.x))

    def handed(inds: Any) -> None:
        inds[:] = next(left)

    with patch.object(np.random, "shuffle", handed):
        return painted(c, told(c, "PermutationExplainer", max_evals=(2 * PLAYERS + 1) * len(first)), PLAYERS)


def tree() -> Tensor:
    """Merges of two parts at a time, drawn at random; as SciPy numbers them."""
    parts, merges = list(range(PLAYERS)), []
    for step in range(PLAYERS - 1):
        a, b = (parts.pop(int(torch.randint(len(parts), (1,), generator=local(step + k)))) for k in (0, 7))
        merges.append((a, b))
        parts.append(PLAYERS + step)
    return torch.tensor(merges)


def partition(c: Case) -> Tensor:
    """Owen values of the same tree, split to the end."""
    size = [1.0] * PLAYERS
    for a, b in tree().tolist():
        size.append(size[a] + size[b])
    told_tree = torch.stack([torch.arange(1.0, PLAYERS), torch.tensor(size[PLAYERS:])], 1)
    linkage = torch.cat([tree(), told_tree], 1).double().numpy()
    masker = shap().maskers.Partition(np.zeros((1, PLAYERS)), clustering=linkage)
    return painted(c, told(c, "PartitionExplainer", masker, max_evals=10_000), PLAYERS)


COMPARED: dict[str, Compared] = {
    "Exact Shapley values, six players": Compared(
        ours=make("exact_shapley", players=PLAYERS),
        theirs=lambda c: painted(c, told(c, "ExactExplainer"), PLAYERS),
        models=MODELS,
    ),
    "Permutation SHAP, there and back": Compared(
        ours=make("permutation_shap", players=PLAYERS, samples=ORDERS), theirs=permuted, models=MODELS
    ),
    "Owen values of one tree": Compared(
        ours=lambda c: make("owen_shapley", players=PLAYERS, hierarchy=tree(), calls=10_000)(c),
        theirs=partition,
        models=MODELS,
    ),
}
