"""Every self-check that travels with explanations has a test that turns it red."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.models import Convnet, net, pictures
from torch import Tensor, nn

import pellucid
from pellucid.api import explain, wrap

SRC, TESTS = Path(pellucid.__file__).parent, Path(__file__).parent

RED = {
    "degenerate": "test_chips.py::test_a_map_of_zeros_is_degenerate",
    "noise": "test_chips.py::test_few_samples_are_noisy",
    "saturated": "test_chips.py::test_a_probability_of_one_is_saturated",
    "completeness": "methods/test_idgi.py",
    "full_gradient": "methods/test_full_grad.py::test_what_nobody_accounts_for_turns_the_check_red",
    "linear_head": "methods/test_cam_linear.py::test_more_than_a_linear_layer_behind_the_pooling_turns_the_check_red",
    "precision": "methods/test_anchors.py::test_red_where_the_threshold_is_out_of_reach",
    "precision_low": "methods/test_anchors.py::test_red_where_the_threshold_is_out_of_reach",
    "area": "methods/test_extremal_perturbation.py::test_too_few_steps_turn_the_area_red",
    "unresolved": "methods/test_owen.py::test_a_budget_that_is_spent_says_what_it_shared_out",
    "efficiency": "methods/test_shapley.py::test_values_that_do_not_add_up_turn_efficiency_red",
    "r2": "methods/test_shapley.py::test_a_game_that_is_not_linear_turns_r2_red",
    "held_out": "ops/test_press.py::test_few_samples_fit_anything_and_the_chip_is_red",
    "top": "methods/test_until_top.py::test_players_that_are_alike_are_never_told_apart_and_the_chip_says_so",
    "sanity: *": "test_sanity.py::test_results_carry_the_verdicts",
}
"""Where each check is shown to turn red."""


def judged() -> set[str]:
    """Names of all checks in the source that have a verdict."""
    names: set[str] = set()
    for file in SRC.rglob("*.py"):
        if "testing" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Check", "RowCheck"):
                given = {k.arg: k.value for k in node.keywords}
                unjudged = isinstance(given.get("judged"), ast.Constant) and not given["judged"].value
                if "name" in given and not unjudged and not isinstance(given["name"], ast.Attribute):
                    names.add(_name(given["name"]))
    return names


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
    return ast.literal_eval(node)


def test_every_check_has_a_test_that_turns_it_red() -> None:
    assert judged() == set(RED)
    for name, where in RED.items():
        file, _, test = where.partition("::")
        source = (TESTS / file).read_text(encoding="utf-8")
        functions = {n.name: ast.unparse(n) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)}
        body = functions[test] if test else source
        assert "False" in body or "not a" in body or "warnings" in body, f"{where} shows no red {name}"


# -- those of every method ---------------------------------------------------------------------------------------------


class Certain(nn.Module):
    """Two classes, the first of which is as likely as the bias says."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.unit, self.bias = nn.Parameter(torch.ones((), dtype=torch.float64)), bias

    def forward(self, x: Tensor) -> Tensor:
        score = self.unit * x.mean((1, 2, 3)) + self.bias
        return torch.stack([score, torch.zeros_like(score)], 1)


class Deaf(Convnet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0


def check(model: Any, method: Any, name: str, **how: Any) -> Any:
    return explain(model, pictures(2), method, target=0, **how)[0].check(name)


def test_a_map_of_zeros_is_degenerate() -> None:
    assert check(net(Deaf()), "gradient", "degenerate").passed == (False, False)
    assert check(net(Convnet()), "gradient", "degenerate").passed == (True, True)


class Waves(Certain):
    """Its gradient changes its sign from one sample to the next."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([(1000 * super().forward(x)[:, 0]).sin(), x.mean((1, 2, 3))], 1)


def test_few_samples_are_noisy() -> None:
    drawn = [check(net(Waves(0.0)), pellucid.SmoothGrad(samples=4, seed=seed), "noise") for seed in range(8)]
    assert sum(ok is False for one in drawn for ok in one.passed) >= 4  # the mean is zero: its error is as large
    assert check(net(Convnet()), pellucid.SmoothGrad(samples=64, spread=0.05), "noise").passed == (True, True)


@pytest.mark.parametrize("bias", [25.0, -25.0])
def test_a_probability_of_one_is_saturated(bias: float) -> None:
    got = check(net(Certain(bias)), "gradient", "saturated", output="probability")
    assert got.passed == (False, False) and max(got.value) < 1e-10 and got.limit == 1e-4


def test_slopes_are_measured() -> None:
    model, x = net(Certain(0.3)), pictures(2)
    p = model(x).softmax(1)[:, 0]
    assert check(model, "gradient", "saturated", output="probability").value == pytest.approx((p * (1 - p)).tolist())
    assert check(model, "gradient", "saturated", output="log_probability").value == pytest.approx((1 - p).tolist())
    assert check(net(Certain(-25)), "gradient", "saturated", output="log_probability").passed == (True, True)


def test_logits_and_methods_without_gradients_do_not_saturate() -> None:
    assert check(net(Certain(25)), "gradient", "saturated") is None
    assert check(net(Certain(25)), "occlusion", "saturated", output="probability") is None


class Shares(Certain):
    """Probabilities that no softmax gives, so that their logarithm stands for the logit."""

    def forward(self, x: Tensor) -> Tensor:
        e = super().forward(x).exp()
        return e / e.sum(1, keepdim=True)


def test_logarithms_of_probabilities_saturate_at_one() -> None:
    assert check(wrap(net(Shares(25.0))), "gradient", "saturated").passed == (False, False)
    assert check(wrap(net(Shares(-25.0))), "gradient", "saturated").passed == (True, True)
