"""Comparisons that are not of maps of pictures: tables, texts, sets of rows, formulas of papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tests.peers import formulas
from tests.peers.models import local
from tests.unit.games import CELLS, PLAYERS, WHITE, Shown, looked_up
from tests.unit.metrics.planted import Corner, explained, random
from torch import Tensor, nn

import pellucid
from pellucid import ExactShapley, KernelSHAP, Table, TabularLIME, api, registry
from pellucid.core.explanation import Kind
from pellucid.methods.gradient import InputXGradient
from pellucid.methods.hsic_attribution import HSICAttribution
from pellucid.methods.rise import RISE
from pellucid.methods.sobol_attribution import SobolAttribution
from pellucid.ops.designs import coin, everything
from pellucid.ops.patches import Patches

TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Beside:
    """method: ours; of: what it explains; peer: who else does; needs: the package; pair: both numbers."""

    method: str
    of: str
    peer: str
    needs: str
    pair: Callable[[], tuple[Any, Any]]

    def __str__(self) -> str:
        return f"{self.method}, {self.of}: {self.peer}"

    @property
    def there(self) -> bool:
        return find_spec(self.needs) is not None

    def apart(self) -> float:
        """The largest difference, relative to the largest number of both."""
        a, b = (np.asarray(one, dtype=np.float64) for one in self.pair())
        if a.shape != b.shape or not (a.any() or b.any()):
            raise ValueError(f"shapes {a.shape} and {b.shape}, or nothing but zeros")
        return float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max()))


# -- lime ------------------------------------------------------------------------------------------------------------


def table_in_bins() -> tuple[Any, Any]:
    """Weights, intercept, R² and local prediction."""
    from tests.peers.with_lime_tables import TRAIN, columns, kept, lime_s, probabilities

    said, rows, scores = kept(lime_s(), TRAIN[7].copy(), probabilities, num_features=4)
    method = TabularLIME()
    fit, there, _ = method._fit(columns(method), rows, scores, torch.full((len(rows),), -1))
    theirs = [*(w for _, w in sorted(said.local_exp[1])), said.intercept[1], said.score, float(said.local_pred[0])]
    return [*fit.coef[1].tolist(), float(fit.intercept[1]), float(fit.r2[1]), float(there[1])], theirs


def text(bow: bool) -> tuple[Any, Any]:
    """Weights, intercept and local prediction."""
    from tests.peers.with_lime_texts import ours, theirs

    our, their = ours(bow, None, "none", 0), theirs(bow, 100, "none", 0)
    weights = [float(w) for _, w in sorted(their.local_exp[0])]
    mine = [*our.extras["players"][0].tolist(), float(our.extras["intercept"][0]), float(our.extras["prediction"][0])]
    return mine, [*weights, their.intercept[0], float(their.local_pred[0])]


class Told:
    """An explanation as lime's pick reads it: features and weights of one row."""

    mode = "regression"

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = weights

    def as_list(self, label: int = 1) -> list[tuple[int, float]]:
        return [(i, w) for i, w in enumerate(self.weights) if w]


def picked() -> tuple[Any, Any]:
    """Which four of thirty rows."""
    from lime.submodular_pick import SubmodularPick

    rows = torch.randn(30, 40, generator=local(4), dtype=torch.float64)
    rows = torch.where(torch.rand(30, 40, generator=local(5)) < 0.15, rows, 0.0)
    layer = nn.Linear(40, 1, bias=False).double()
    nn.init.ones_(layer.weight)
    e = api.explain(layer, rows, InputXGradient(), target=0, output="logit")[0]
    explainer = SimpleNamespace(explain_instance=lambda row, *_, **__: Told(row.tolist()))
    theirs = SubmodularPick(explainer, rows.numpy(), None, method="full", num_features=40, num_exps_desired=4)
    return pellucid.submodular_pick(e, 4, features=None).rows, theirs.V


# -- shap ------------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(120, PLAYERS))
Y = X[:, 0] * X[:, 1] + np.tanh(X[:, 2]) + (X[:, 3] > 0.5)
TABLE = Table.of(X, background=X[:12])


@cache
def forest(boosted: bool) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

    made = GradientBoostingRegressor(n_estimators=20, random_state=0) if boosted else RandomForestRegressor(8)
    return made.set_params(random_state=0, max_depth=4).fit(X, Y)


def masked() -> Any:
    import shap

    return shap.maskers.Independent(X[:12])


def exact() -> tuple[Any, Any]:
    import shap

    (e,) = pellucid.explain(pellucid.wrap(forest(False), TABLE), X[:3], ExactShapley())
    return e.values, shap.ExactExplainer(forest(False).predict, masked())(X[:3], silent=True).values


def kernel() -> tuple[Any, Any]:
    import shap

    (e,) = pellucid.explain(pellucid.wrap(forest(False), TABLE), X[:3], KernelSHAP(samples=2**PLAYERS))
    made = shap.KernelExplainer(forest(False).predict, X[:12])
    return e.values, made.shap_values(X[:3], nsamples=2**PLAYERS, l1_reg=False, silent=True)


def trees(boosted: bool) -> tuple[Any, Any]:
    """Ours goes through the package shap, and is compared with its other way, over all coalitions."""
    import shap

    mine = pellucid.tree_shap(pellucid.wrap(forest(boosted), TABLE), X[:4]).values
    return mine, shap.ExactExplainer(forest(boosted).predict, masked())(X[:4], silent=True).values


def linear() -> tuple[Any, Any]:
    import shap
    from sklearn.linear_model import Ridge

    fitted = Ridge().fit(X, Y)
    return pellucid.linear_shap(pellucid.wrap(fitted, TABLE), X[:3]).values, shap.LinearExplainer(
        fitted, X[:12]
    ).shap_values(X[:3])


def tree_in_pairs() -> tuple[Any, Any]:
    """Of the game that shap plays on a tree, by which path its rows went; shap halves what a pair does."""
    import shap
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_depth=4, random_state=0).fit(X, Y)
    theirs = shap.TreeExplainer(tree, feature_perturbation="tree_path_dependent").shap_interaction_values(X[:1])[0]
    worths = [formulas.expected(tree.tree_, X[0], tuple(z)) for z in everything(PLAYERS).shown.tolist()]
    model = looked_up(torch.tensor(worths, dtype=torch.float64)[:, None].expand(-1, 2))
    method = registry.make("shapley_interactions", {"index": "k_sii", "regions": CELLS, "fill": "black"})
    square = api.explain(model, WHITE, method, target=0, output="logit")[0].extras["interactions"][0]
    return (square + torch.diag(square.diagonal())) / 2, theirs


# -- formulas --------------------------------------------------------------------------------------------------------


def smooth(shown: Tensor) -> Tensor:
    """Two scores of how far six cells are shown."""
    s = torch.tanh(shown[:, 0] + shown[:, 1] * shown[:, 2]) + shown[:, 3] ** 2 - 0.3 * shown[:, 4]
    return torch.stack([s, -s], 1)


def game(method: Any) -> np.ndarray:
    e = api.explain(Shown(smooth), WHITE, method, target=0, output="logit")[0]
    return e.extras["players"][0].numpy()


def sobol(order: str) -> tuple[Any, Any]:
    method = SobolAttribution(samples=64, order=order, regions=CELLS, fill="black")
    s = smooth(method._design(PLAYERS).shown.double())[:, 0].view(-1, PLAYERS + 2).numpy()
    return game(method), formulas.jansen(s[:, 0], s[:, 1], s[:, 2:], order == "first")


def hsic() -> tuple[Any, Any]:
    z = coin(PLAYERS, 61, 0).shown
    return game(HSICAttribution(samples=61, regions=CELLS, fill="black")), formulas.hsic(
        z.numpy(), smooth(z.double())[:, 0].numpy()
    )


def rise() -> tuple[Any, Any]:
    """The paper's map: ours, and the mean of the scores that ours leaves out."""
    x = random(1, 3, 12, 15, seed=3)
    method = RISE(samples=200, grid=4, share=0.4)
    e = api.explain(Corner(), x, method, target=0)[0]
    masks = Patches.drawn(x, torch.zeros_like(x), 200, 4, 0.4, 0).masks(0, 200).double()
    with torch.no_grad():
        scores = Corner()(x * masks[:, None]).softmax(1)[:, 0]
    mine = e.values[0] + e.extras["mean"][0] * masks.mean(0) / 0.4
    return mine, formulas.rise(masks.numpy(), scores.numpy(), 0.4)


def curve(peer: str, metric: str) -> tuple[Any, Any]:
    """With `compat=` the peer: 224 steps of probabilities for RISE, ten of logits for Xplique."""
    from pellucid.metrics.compat import rise_blur

    steps, side = (224, (28, 32)) if peer == "rise" else (10, (10, 10))
    x, worth = random(2, 3, *side, seed=1), random(2, *side, seed=2)
    model, other = Corner(6), Corner(6)
    e = explained(model, x, worth, Kind.SENSITIVITY)
    got = api.measure(api.wrap(model), e, metric, inputs=x, compat=peer)[0]

    def score(picture: np.ndarray) -> float:
        logits = other(torch.from_numpy(picture)[None])
        return float((logits.softmax(1) if peer == "rise" else logits)[0, 0].detach())

    found: list[float] = []
    for one, blurred, w in zip(x, rise_blur(x), worth, strict=True):
        empty = (blurred if peer == "rise" and metric == "insertion" else torch.zeros_like(one)).numpy()
        ends = (empty, one.numpy()) if metric == "insertion" else (one.numpy(), empty)
        found.append(formulas.area(score, *ends, w.numpy(), steps))
    return got.values, found


FOREST, BOOSTED = "a random forest, 12 backgrounds", "gradient boosting, 12 backgrounds"
COMPARED = (
    Beside("Tabular LIME: weights, intercept, R², local prediction", "a table in bins", "lime", "lime", table_in_bins),
    Beside("LIME: weights, intercept, local prediction", "a text, words", "lime", "lime", lambda: text(False)),
    Beside("LIME: weights, intercept, local prediction", "a text, vocabulary", "lime", "lime", lambda: text(True)),
    Beside("SP-LIME: which rows", "30 rows of weights", "lime", "lime", picked),
    Beside("Exact Shapley values", FOREST, "shap ExactExplainer", "shap", exact),
    Beside("Kernel SHAP, all coalitions", FOREST, "shap KernelExplainer", "shap", kernel),
    Beside("tree_shap", FOREST, "shap ExactExplainer", "shap", lambda: trees(False)),
    Beside("tree_shap", BOOSTED, "shap ExactExplainer", "shap", lambda: trees(True)),
    Beside("linear_shap", "ridge regression", "shap LinearExplainer", "shap", linear),
    Beside("Interactions of pairs, k-SII", "a decision tree", "shap TreeExplainer", "shap", tree_in_pairs),
    Beside("RISE", "a picture", "eq. 6 of its paper", "numpy", rise),
    Beside("Sobol attribution, total order", "six cells", "Jansen's estimator", "numpy", lambda: sobol("total")),
    Beside("Sobol attribution, first order", "six cells", "Jansen's estimator", "numpy", lambda: sobol("first")),
    Beside("HSIC attribution", "six cells", "traces of matrices", "numpy", hsic),
    Beside("Deletion, as RISE", "two pictures", "algorithm 1 of RISE", "numpy", lambda: curve("rise", "deletion")),
    Beside("Insertion, as RISE", "two pictures", "algorithm 1 of RISE", "numpy", lambda: curve("rise", "insertion")),
    Beside(
        "Deletion, as Xplique", "two pictures", "ten steps of logits", "numpy", lambda: curve("xplique", "deletion")
    ),
    Beside(
        "Insertion, as Xplique", "two pictures", "ten steps of logits", "numpy", lambda: curve("xplique", "insertion")
    ),
)
