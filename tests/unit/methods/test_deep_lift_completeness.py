"""The sum of DeepLIFT's contributions is the change of the score to 1e-5, in models of single precision too."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from tests.unit.propagation.deeplift.passes import filled, numbers
from tests.unit.propagation.deeplift.test_models import Written
from tests.unit.propagation.test_architectures import MODELS, Logits
from torch import Tensor, nn

from pellucid.api import explain, plan, wrap
from pellucid.core.errors import UnsupportedModel
from pellucid.core.explanation import Check, Explanation
from pellucid.methods.deep_lift import DeepLift, DeepLiftShap

pytestmark = pytest.mark.filterwarnings("ignore")


def lift(model: nn.Module, x: Tensor, method: Any, **more: Any) -> Explanation:
    return explain(wrap(model, emits="logits", **more), x, method, target=1)[0]


def completeness(e: Explanation) -> Check:
    (check,) = [check for check in e.checks if check.name == "completeness"]
    return check


@torch.no_grad()
def scores(model: nn.Module, x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """s(x) and s(reference) as double precision has them."""
    exact = deepcopy(model).double()
    return exact(x.double())[:, 1], exact(reference.double())[:, 1]


def gap(e: Explanation, of_x: Tensor, of_b: Tensor) -> Tensor:
    """|Σ a − Δs| / max(|Δs|, s / 1000)."""
    change = (of_x - of_b).double()
    lost = (e.values.double().flatten(1).sum(1) - change).abs()
    return lost / change.abs().maximum(1e-3 * of_x.abs().maximum(of_b.abs()))


def drawn(make: Callable[[], nn.Module]) -> nn.Module:
    """A model as its makers draw it, but for weights that they set to zero."""
    torch.manual_seed(0)
    model = make().eval()
    for p in model.parameters():
        if p.ndim > 1 and not p.any():
            nn.init.normal_(p, std=0.05)
    return model


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize(("rule", "near"), [("rescale", False), ("reveal_cancel", False), ("rescale", True)])
def test_single_precision_keeps_the_contract(make: Callable[[], nn.Module], shape: Any, rule: Any, near: bool):
    """From zero, and from a reference that the model hardly tells from the input: there Δs is small beside s."""
    model, x = drawn(make), numbers(2, *shape[1:], dtype=torch.float32)
    r = x.mean(0) + 1e-3 * x[0] if near else 0 * x[0]
    x = x.mean(0) + 1e-2 * x if near else x
    got = lift(model, x, DeepLift(rule=rule, baseline=r))
    check = completeness(got)
    assert check.limit == 1e-5 and all(check.passed)
    of_x, of_b = scores(model, x, r.expand_as(x))
    with torch.no_grad():
        single = model(x)[:, 1], model(r.expand_as(x))[:, 1]
    rounding = gap(got, of_x, of_b) - 1e-5  # rows kept as they are belong to scores of single precision
    assert bool((gap(got, of_x, of_b).minimum(gap(got, *single)) <= 2e-5).all())
    assert bool((rounding <= gap_of_scores(single, (of_x, of_b))).all())


def gap_of_scores(single: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> Tensor:
    """What rounding takes of the change of the score itself, relative as above."""
    change = exact[0] - exact[1]
    lost = (single[0].double() - single[1].double() - change).abs()
    return 2 * lost / change.abs().maximum(1e-3 * exact[0].abs().maximum(exact[1].abs())) + 1e-5


@pytest.mark.parametrize("how", ["modules", "functions", "shared", "in place"])
def test_however_it_is_written(how: str):
    model, x = filled(Written(how), dtype=torch.float32), numbers(4, 3, 8, 8, dtype=torch.float32)
    for method in (DeepLift(), DeepLift(rule="reveal_cancel"), DeepLiftShap(), DeepLift(precision="double")):
        check = completeness(lift(model, x, method))
        assert check.limit == 1e-5 and all(check.passed), (method, check.value)


class Drowned(nn.Module):
    """A small change beside a large constant, of which single precision rounds some off."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return 1000 + 0.1 * self.head(torch.tanh(self.first(x)))


def drowned() -> nn.Module:
    return filled(Drowned(), dtype=torch.float32)


X = numbers(8, 6, dtype=torch.float32)


def test_what_rounding_took_is_found_in_double_precision_and_said():
    got, kept = lift(drowned(), X, DeepLift()), lift(drowned(), X, DeepLift(precision="model"))
    wanted = lift(drowned(), X, DeepLift(precision="double"))
    fine = torch.tensor(completeness(kept).passed)
    assert all(completeness(got).passed) and max(completeness(wanted).value) <= 1e-9
    assert kept.values.dtype is torch.float32 and int((~fine).sum()) >= 4
    assert f"{int((~fine).sum())} of 8 found in double precision" in completeness(got).says
    assert torch.equal(got.values, torch.where(fine[:, None], kept.values.double(), wanted.values))
    assert got.record.passes.forward > kept.record.passes.forward
    shap = lift(drowned(), X, DeepLiftShap())
    assert all(completeness(shap).passed) and shap.values.dtype is torch.float64
    assert shap.std_error is not None and shap.std_error.dtype is torch.float64


def test_only_the_rows_concerned_change():
    """A row next to the reference is explained again; the others keep their numbers, whoever is beside them."""
    model = filled(nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)), dtype=torch.float32)
    x = torch.cat([X, 1e-6 * X[:1]])
    together, alone = lift(model, x, DeepLift(baseline=0 * X[0])), lift(model, X, DeepLift(baseline=0 * X[0]))
    assert "1 of 9 found in double precision" in completeness(together).says
    assert torch.equal(together.values[:8], alone.values.double())


def test_models_of_double_precision_run_once():
    x = X.double()
    got = lift(drowned().double(), x, DeepLift())
    assert got.record.passes.forward == 8 and "found in" not in completeness(got).says


class Fixed(Drowned):
    """Its own code makes numbers of a fixed precision."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.ones(1, 6).repeat(len(x), 1) @ self.head.weight.T[:6]


class Narrow(Drowned):
    """It ends in single precision, whatever it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


@pytest.mark.parametrize("kind", [Fixed, Narrow])
def test_where_double_precision_is_impossible_that_is_said(kind: type[nn.Module]):
    model = filled(kind(), dtype=torch.float32)
    got = lift(model, X, DeepLift())
    assert not all(completeness(got).passed) and got.values.dtype is torch.float32
    assert any("double precision: not possible" in line for line in got.record.decisions)
    with pytest.raises(UnsupportedModel, match="precision='model'"):
        lift(model, X, DeepLift(precision="double"))


def test_at_a_layer_too():
    model, x = filled(Written("modules"), dtype=torch.float32), numbers(4, 3, 8, 8, dtype=torch.float32)
    single, double = (lift(model, x, DeepLift(at="first", precision=p)) for p in ("model", "double"))
    assert double.values.dtype is torch.float64 and torch.allclose(single.values.double(), double.values, atol=1e-5)
    of_x, of_b = scores(model, x, 0 * x)
    assert float(gap(double, of_x, of_b).max()) <= 1e-9


def test_a_plan_knows_that_it_may_run_twice():
    model = wrap(drowned(), emits="logits")
    told = plan(model, X, DeepLift()), plan(model, X, DeepLift(precision="model"))
    assert "forward" in str(told[0]) and str(told[0]) != str(told[1])


def test_a_bert_with_logits_of_a_ten_thousandth():
    of = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    bert = of.BertForSequenceClassification(of.BertConfig(vocab_size=30, initializer_range=0.002, **sizes)).eval()
    got = lift(Logits(bert, "inputs_embeds"), numbers(3, 6, 8, dtype=torch.float32), DeepLift(baseline="zero"))
    assert all(completeness(got).passed)
