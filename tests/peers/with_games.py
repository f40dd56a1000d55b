"""Games on a picture: ours, and those of Captum, shap and lime on the same regions, coalitions and colours.

The peers draw at random; here they are handed our coalitions, or we are handed theirs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from tests.peers.models import BUNDLED, Case, local
from tests.peers.with_captum import Compared, attr, fill
from torch import Tensor

from pellucid import registry
from pellucid.core.ask import Attribution, Query
from pellucid.core.explanation import Explanation
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.lime import kernel
from pellucid.ops.designs import Design, coin, orders
from pellucid.ops.games import Game, Worth
from pellucid.ops.shapley_designs import KERNELS
from pellucid.ops.shapley_fit import shapley_fit

SMALL = "vit_b_16 (narrow)"
MODELS = (BUNDLED, SMALL)
PLAYERS, SAMPLES = 12, 48
FEW = 4
"""Players where every coalition is asked for; one less where every order is."""
ROWS = 32
"""Pictures in one batch of the peers."""
WIDTH = 0.25


@cache
def regions(size: tuple[int, int], players: int) -> Tensor:
    """The number of the nearest of some random points: int64 [height, width]."""
    height, width = size
    points = torch.rand(players, 2, generator=local(players)) * torch.tensor(size)
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    return torch.cdist(places, points).argmin(1).view(size)


def labels(c: Case, players: int = PLAYERS) -> Tensor:
    return regions((c.x.shape[2], c.x.shape[3]), players)


def painted(c: Case, values: Tensor, players: int = PLAYERS) -> Tensor:
    """What every place's region is worth, [batch, height, width]."""
    return values[:, labels(c, players)]


def make(name: str, players: int = PLAYERS, hidden: Any = fill, **params: Any) -> Callable[[Case], Any]:
    """Our method on the regions; hidden regions show one colour, or whatever `hidden` is."""

    def made(c: Case) -> Any:
        shows = hidden(c.x) if callable(hidden) else hidden
        return registry.make(name, {"regions": labels(c, players), "fill": shows, **params})

    return made


def answer(c: Case, rows: Tensor) -> np.ndarray:
    """The outputs for rows, a batch at a time."""
    with torch.no_grad():
        return torch.cat([c.theirs(some) for some in rows.split(ROWS)]).numpy()


# -- Captum ----------------------------------------------------------------------------------------------------------


def common(c: Case, players: int) -> dict[str, Any]:
    """What Captum's games are told."""
    return {
        "baselines": fill(c.x).expand(1, *c.x.shape[1:]),
        "target": c.target,
        "feature_mask": labels(c, players).expand(1, *c.x.shape[1:]).contiguous(),
    }


def told(made: Any, c: Case, players: int = PLAYERS, **more: Any) -> Tensor:
    """Its map, which repeats itself over the channels; row by row, since its forward runs no more than a few."""
    batch = {"perturbations_per_eval": ROWS}
    rows = [made.attribute(one[None], **common(c, players), **batch, **more) for one in c.x]
    return torch.cat(rows)[:, 0].detach()


@contextmanager
def in_double() -> Iterator[None]:
    """Captum rounds coalitions, scores and weights to single precision before it fits them."""
    with patch.object(torch.Tensor, "float", torch.Tensor.double):
        yield


def given(shown: Tensor) -> Callable[..., Generator[Tensor]]:
    """Coalitions one by one, as Captum asks for them."""

    def coalitions(x: Tensor, **kept: Any) -> Generator[Tensor]:
        for one in shown.long():
            yield one[None]

    return coalitions


def captum_lime(c: Case) -> Tensor:
    from captum._utils.models.linear_model import SkLearnRidge

    shown = coin(PLAYERS, SAMPLES, 0).beside(shown=True).shown
    made = attr().Lime(
        c.theirs,
        interpretable_model=SkLearnRidge(alpha=1.0),
        similarity_func=lambda x, row, z, **kept: kernel(z.double(), WIDTH),
        perturb_func=given(shown),
    )
    with in_double():
        return told(made, c, n_samples=len(shown))


def captum_kernel_shap(c: Case, ends: float) -> Tensor:
    """ends: how much the whole picture and the hidden one count; every other coalition counts 1."""
    shown = KERNELS["kernel"](PLAYERS, SAMPLES, 0).beside(shown=True).beside(shown=False).shown
    made = attr().KernelShap(c.theirs)
    made.perturb_func, made.inf_weight = given(shown), ends
    with in_double():
        return told(made, c, n_samples=len(shown))


def captum_lasso(c: Case) -> Tensor:
    """With the model that Captum's Lime fits unless it is given another."""
    shown = coin(PLAYERS, SAMPLES, 0).beside(shown=True).shown
    near = attr().Lime(c.theirs, similarity_func=lambda x, row, z, **kept: kernel(z.double(), WIDTH))
    near.perturb_func = given(shown)
    with in_double():
        return told(near, c, n_samples=len(shown))


def captum_orders(c: Case) -> Tensor:
    made = attr().ShapleyValueSampling(c.theirs)
    places = orders(PLAYERS, 4, 0, antithetic=False)
    made.permutation_generator = lambda players, samples: iter(places.argsort(1).tolist())
    return told(made, c, n_samples=len(places))


LASSO = "LIME, default model of Captum"
CAPTUM: dict[str, Compared] = {
    "Feature Ablation": Compared(
        ours=make("feature_ablation"), theirs=lambda c: told(attr().FeatureAblation(c.theirs), c), models=MODELS
    ),
    "LIME, hidden regions in one colour": Compared(
        ours=make("lime", samples=SAMPLES, design="coin"), theirs=captum_lime, models=MODELS
    ),
    LASSO: Compared(ours=make("lime", samples=SAMPLES, design="coin", ridge=0.0), theirs=captum_lasso, models=MODELS),
    "Kernel SHAP": Compared(
        ours=make("kernel_shap", samples=SAMPLES, design="kernel"),
        theirs=lambda c: captum_kernel_shap(c, 1e6),
        models=(BUNDLED,),
    ),
    "Kernel SHAP, ends weighted 10¹¹": Compared(
        ours=make("kernel_shap", samples=SAMPLES, design="kernel"),
        theirs=lambda c: captum_kernel_shap(c, 1e11),
        models=MODELS,
    ),
    "Permutation SHAP": Compared(
        ours=make("permutation_shap", samples=4, antithetic=False), theirs=captum_orders, models=MODELS
    ),
    "Exact Shapley values": Compared(
        ours=make("exact_shapley", players=FEW - 1),
        theirs=lambda c: told(attr().ShapleyValues(c.theirs), c, FEW - 1),
        models=(SMALL,),
    ),
}


# -- lime ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bits:
    """The random state of lime, which hands out given coalitions."""

    shown: Tensor

    def randint(self, low: int, high: int = 0, count: int = 0) -> Any:
        return self.shown.long().numpy().ravel() if count else 0


def explained_by_lime(
    c: Case, x: Tensor, first: int = 0, chosen: int = PLAYERS, way: str = "auto", top: int | None = None
) -> Any:
    """lime's explanation of one picture, whose regions are numbered from `first`; they show their mean colour.

    top: how many labels are explained beside one another; the target alone when None.
    """
    from lime.lime_image import LimeImageExplainer

    shown = coin(PLAYERS, SAMPLES, 0).beside(shown=True).shown
    made = LimeImageExplainer(feature_selection=way)
    made.random_state = Bits(shown)

    def outputs(pictures: np.ndarray) -> np.ndarray:
        return answer(c, torch.from_numpy(pictures).movedim(-1, 1).contiguous())

    return made.explain_instance(
        x.movedim(0, -1).numpy(),
        outputs,
        labels=(c.target,),
        top_labels=top,
        num_features=chosen,
        num_samples=len(shown),
        batch_size=ROWS,
        segmentation_fn=lambda picture: first + labels(c).numpy(),
    )


def of_lime(c: Case, **how: Any) -> list[Any]:
    """lime's explanation of every row."""
    from lime import lime_image

    with patch.object(lime_image, "tqdm", lambda it: it):
        return [explained_by_lime(c, x, **how) for x in c.x]


def lime_map(c: Case, first: int = 0, **how: Any) -> Tensor:
    """Its coefficients, painted where the regions have the numbers that lime gives them to."""
    values = torch.zeros(len(c.x), PLAYERS, dtype=torch.float64)
    for row, made in zip(values, of_lime(c, first=first, **how), strict=True):
        for number, value in made.local_exp[c.target]:
            if number >= first:
                row[number - first] = float(value)
    return painted(c, values)


def lime_fit(c: Case, top: int | None = None) -> Tensor:
    """Intercept, R² and local prediction of every row, [batch, 3]."""
    rows = [(e.intercept[c.target], e.score, float(e.local_pred[0])) for e in of_lime(c, top=top)]
    return torch.tensor(rows, dtype=torch.float64)


def our_fit(e: Explanation) -> Tensor:
    (r2,) = (check.value for check in e.checks if check.name == "r2")
    return torch.stack([e.extras["intercept"], torch.tensor(r2, dtype=torch.float64), e.extras["prediction"]], 1)


FROM_ONE = "LIME, regions numbered from 1"
SEVERAL = "LIME: intercept, R², local prediction, beside other labels"
MEAN = partial(make, "lime", hidden="region_mean", samples=SAMPLES, design="coin")
LIME: dict[str, Compared] = {
    "LIME": Compared(ours=MEAN(), theirs=lime_map, models=MODELS),
    "LIME: intercept, R², local prediction": Compared(ours=MEAN(), theirs=lime_fit, models=MODELS, reads=our_fit),
    SEVERAL: Compared(ours=MEAN(), theirs=lambda c: lime_fit(c, top=5), models=(SMALL,), reads=our_fit),
    **{
        f"LIME, five regions, {way.replace('_', ' ')}": Compared(
            ours=MEAN(features=5, select=way),
            theirs=lambda c, way=way: lime_map(c, chosen=5, way=way),
            models=(SMALL,),
        )
        for way in ("forward_selection", "highest_weights", "lasso_path")
    },
    FROM_ONE: Compared(
        ours=lambda c: registry.make(
            "lime", {"regions": 1 + labels(c), "fill": "region_mean", "samples": SAMPLES, "design": "coin"}
        ),
        theirs=lambda c: lime_map(c, first=1),
        models=(SMALL,),
    ),
}


# -- shap ------------------------------------------------------------------------------------------------------------


def game(c: Case, x: Tensor, players: int) -> Callable[[Any], np.ndarray]:
    """The score of coalitions [rows, players] of one picture's regions: a function as shap explains it."""
    where = labels(c, players)

    def scores(z: Any) -> np.ndarray:
        shown = torch.from_numpy(np.asarray(z)).bool()[:, where][:, None]
        return answer(c, torch.where(shown, x, fill(x)))[:, c.target]

    return scores


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """shap draws from numpy's global random state: set it, and put it back."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def kernel_explained(c: Case, x: Tensor, players: int, samples: int, sparse: Any) -> tuple[Any, Tensor]:
    """shap's KernelExplainer after it has explained one picture, and its values."""
    import shap

    made = shap.KernelExplainer(game(c, x, players), np.zeros((1, players)))
    more = {} if sparse is None else {"l1_reg": sparse}
    with seeded(1):
        values = made.shap_values(np.ones((1, players)), nsamples=samples, silent=True, **more)
    return made, torch.as_tensor(values)[0]


def shap_kernel(c: Case, players: int = PLAYERS, samples: int = SAMPLES, sparse: Any = False) -> Tensor:
    rows = [kernel_explained(c, x, players, samples, sparse)[1] for x in c.x]
    return painted(c, torch.stack(rows), players)


@cache
def drawn_by_shap(players: int, samples: int) -> Design:
    """The coalitions that shap draws, and their weights; they do not depend on the game."""
    silent = Case(name="", module=torch.nn.Flatten(), x=torch.ones(1, 1, 8, 8, dtype=torch.float64), target=0, site="")
    made, _ = kernel_explained(silent, silent.x[0].expand(3, 8, 8), players, samples, False)
    count = made.nsamplesAdded
    shown, weight = torch.from_numpy(made.maskMatrix[:count] > 0.5), torch.from_numpy(made.kernelWeights[:count])
    return Design(shown=shown, weight=weight.clone(), group=torch.full((count,), -1))


class OnTheirs(KernelSHAP):
    """Our Kernel SHAP on the coalitions and weights of shap."""

    async def explain(self, q: Query) -> Attribution:
        game = Game.of(q, self.regions, self.fill)
        played = await game.play(q, lambda n: drawn_by_shap(n, self.samples).beside(shown=True).beside(shown=False))
        return game.attribution([Worth.of(shapley_fit(one)) for one in played])


def deep(c: Case) -> Tensor:
    """DeepExplainer from three backgrounds, of the class that is best for the (only) row.

    It gets a copy, for it leaves its hooks on a model on which it fails.
    """
    import shap

    made = shap.DeepExplainer(copy.deepcopy(c.theirs), backgrounds(c))
    values, best = made.shap_values(c.x.clone(), ranked_outputs=1, check_additivity=False)
    if int(best[0, 0]) != c.target:
        raise ValueError(f"class {int(best[0, 0])}, not {c.target}")
    return torch.as_tensor(values)[..., 0].to(c.x)


def backgrounds(c: Case) -> Tensor:
    return torch.randn(3, *c.x.shape[1:], dtype=torch.float64, generator=local(5))


DEEP = "DeepLIFT-SHAP"
SPARSE = "Kernel SHAP, default of l1_reg"
SHAP: dict[str, Compared] = {
    DEEP: Compared(
        ours=lambda c: registry.make("deep_lift_shap", {"baselines": backgrounds(c)}),
        theirs=deep,
        models=("vgg11", "resnet18", "densenet121"),
    ),
    "Kernel SHAP, all coalitions": Compared(
        ours=make("kernel_shap", players=FEW, samples=2**FEW),
        theirs=lambda c: shap_kernel(c, FEW, 2**FEW),
        models=MODELS,
    ),
    "Kernel SHAP, on shap's coalitions": Compared(
        ours=lambda c: OnTheirs(regions=labels(c), fill=fill(c.x), samples=SAMPLES), theirs=shap_kernel, models=MODELS
    ),
    SPARSE: Compared(
        ours=lambda c: OnTheirs(regions=labels(c), fill=fill(c.x), samples=SAMPLES),
        theirs=lambda c: shap_kernel(c, sparse=None),
        models=MODELS,
    ),
}
