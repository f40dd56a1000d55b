"""DeepLIFT-SHAP beside shap's DeepExplainer, which knows ReLU, sigmoids and max pooling as modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.peers.models import distance, filled, plain, rows
from torch import Tensor, nn

import pellucid

shap = pytest.importorskip("shap")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
X, GROUNDS, TARGET = rows(12, 2, seed=1), rows(12, 3, seed=2), 1


def chain(activation: Callable[[], nn.Module], pool: nn.Module) -> nn.Module:
    return filled(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), activation(), nn.Conv2d(6, 6, 3), activation(), pool,
            nn.Flatten(), nn.Linear(96, 5),
        )
    )  # fmt: skip


def both(module: nn.Module) -> tuple[Tensor, Tensor]:
    method = pellucid.DeepLiftShap(baselines=GROUNDS)
    mine = pellucid.explain(plain(module), X, method, target=TARGET, output="logit")[0].values
    theirs = shap.DeepExplainer(module, GROUNDS).shap_values(X.clone(), check_additivity=False)
    return mine, torch.as_tensor(theirs)[..., TARGET].to(mine)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.MaxPool2d(2)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softplus])
def test_equal_where_shap_knows_all_modules(activation: Callable[[], nn.Module], pool: nn.Module):
    assert distance(*both(chain(activation, pool))) <= 1e-6


def test_complete_where_it_does_not():
    module = chain(nn.ReLU6, nn.MaxPool2d(2))
    with torch.no_grad():
        change = module(X)[:, TARGET] - module(GROUNDS)[:, TARGET].mean()
    mine, theirs = ((values.flatten(1).sum(1) - change).abs().max() for values in both(module))
    assert mine <= 1e-9
    assert theirs > 1e-2
