"""Randomisation and invariance: models for which the right answer is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid import api, registry
from pellucid.core.ask import Attribution, Query, attribution
from pellucid.metrics import (
    EfficientRandomisation,
    InputInvariance,
    NonSensitivity,
    ParameterRandomisation,
    RandomLogit,
)
from pellucid.ops.correlation import spearman
from pellucid.ops.likeness import entropy, ssim
from pellucid.ops.redrawn import Redrawn

from .planted import Corners, close, explained, pictures, random

SIDE = 12


class Deep(nn.Module):
    """Two convolutions and a head; its first layer is non-negative, so that guided backprop sees only that one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(torch.relu(self.a(x)))).mean((2, 3)))


def deep() -> Deep:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return Deep().eval()


class Linear(nn.Module):
    """A linear model of several classes."""

    def __init__(self, channels: int = 3, side: int = SIDE, classes: int = 4) -> None:
        super().__init__()
        self.out = nn.Linear(channels * side * side, classes)
        with torch.no_grad():
            self.out.weight.copy_(random(classes, channels * side * side, seed=6) - 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.flatten(1))


@dataclass(frozen=True)
class Edges:
    """A map that does not look at the model."""

    @property
    def about(self) -> Any:
        return replace(registry.make("gradient").about, name="edges", title="Edges")

    async def explain(self, q: Query) -> Attribution:
        return attribution(q.x.diff(dim=-1, prepend=q.x[..., :1])[None])


def scores(metric: Any, module: nn.Module, methods: Any, x: Tensor | None = None) -> list[Any]:
    handle = api.wrap(module)
    x = pictures(3, side=SIDE).float() if x is None else x
    chosen = registry.make_all(methods)
    e = api.explain(handle, x, chosen, target=1)
    return list(api.measure(handle, e, [metric], inputs=x, methods=chosen))


def test_of_a_linear_model_the_gradient_is_forgotten_with_its_weights() -> None:
    """Analytic: the gradient is the weight row, before and after; no other layer is there."""
    module = Linear()
    [m] = scores(ParameterRandomisation(seed=2), module, ["gradient"])
    drawn = Redrawn(frozenset({"out"}), 2)({"out.weight": module.out.weight, "out.bias": module.out.bias})
    close(m.values, [abs(float(spearman(module.out.weight[1].double(), drawn["out.weight"][1].double())))] * 3, 1e-6)
    assert max(m.values) < 0.2
    assert len(m.curve[0][0]) == 1 and m.curve[0][0][0] == 1.0


def test_a_map_that_ignores_the_model_never_changes() -> None:
    [m, g] = scores(ParameterRandomisation(), deep(), [Edges(), "gradient"])
    close(m.values, [1.0] * 3)
    close(m.extras["head"], [1.0] * 3)
    for x, y in m.curve:  # of three layers
        close(x, [1 / 3, 2 / 3, 1.0])
        close(y, [1.0] * 3)
    assert max(g.values) < 0.5
    [r] = scores(RandomLogit(), deep(), [Edges()])
    close(r.values, [1.0] * 3)
    [h] = scores(EfficientRandomisation(), deep(), [Edges()])
    close(h.values, [0.0] * 3)


def test_a_map_turned_upside_down_is_still_that_map() -> None:
    class Signed(nn.Module):
        """Its head is one number: redrawn, the map may change its sign and nothing else."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(30, 1), nn.Linear(1, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x))

    x = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    handle = api.wrap(Signed())
    e = api.explain(handle, x, "gradient", target=0)
    for seed in range(4):
        m = api.measure(handle, e, [ParameterRandomisation(seed=seed, steps=2)], inputs=x)[0]
        close([abs(v) for v in m.extras["head"]], [1.0, 1.0], 1e-6)
        assert all(v > 0.5 for v in m.values)


@pytest.mark.parametrize("how", ["spearman", "abs_spearman", "ssim"])
def test_likenesses_of_the_independent_order(how: str) -> None:
    [m] = scores(ParameterRandomisation(order="independent", likeness=how, steps=3), deep(), ["gradient"])
    assert len(m.curve[0][0]) == 3 and not m.extras
    assert all(0 <= v <= 1 for v in m.values)


def test_another_class_of_a_linear_model_has_the_map_of_its_own_row() -> None:
    module = Linear()
    [m] = scores(RandomLogit(), module, ["gradient"])
    w = module.out.weight.detach().double()
    possible = [abs(float(spearman(w[1], w[c]))) for c in (0, 2, 3)]
    assert any(abs(m.values[0] - p) < 1e-6 for p in possible)
    close(m.values, [m.values[0]] * 3)


def test_what_has_no_other_class_has_a_reason() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x)

    handle, x = api.wrap(One()), torch.rand(2, 5)
    e = api.explain(handle, x, "gradient", target=0)
    m = api.measure(handle, e, ["random_logit"], inputs=x)[0]
    assert all("one output" in why for why in m.reasons)


def test_entropy_and_structural_similarity() -> None:
    even = torch.arange(100, dtype=torch.float64)[None]
    close(entropy(even, 10), [np.log(10)])
    close(
        entropy(torch.cat([torch.zeros(1, 99), torch.ones(1, 1)], 1).double(), 2),
        [-(0.99 * np.log(0.99) + 0.01 * np.log(0.01))],
    )
    from skimage.metrics import structural_similarity

    a, b = random(1, 24, 20, seed=1), random(1, 24, 20, seed=2)
    a, b = ((z - z.min()) / (z.max() - z.min()) for z in (a, b))
    _, each = structural_similarity(
        a[0].numpy(),
        b[0].numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    close(ssim(a, b), [each[5:-5, 5:-5].mean()], 1e-6)
    close(ssim(a, a), [1.0])


def test_units_of_the_input_do_not_matter_to_the_gradient_but_to_its_product_with_the_input() -> None:
    module = deep()
    g, i, p, r = scores(InputInvariance(), module, ["gradient", "integrated_gradients", "input_x_gradient", "lrp"])
    assert max(g.values) < 0.02 and max(i.values) < 0.02
    assert min(p.values) > 0.3
    assert all("relevance" in why for why in r.reasons)
    assert max(g.extras["gap"]) < 1e-4
    x = pictures(3, side=SIDE).float()
    slope = api.explain(api.wrap(module), x, "gradient", target=1)[0].values
    close(p.values, (slope.flatten(1).norm(dim=1) / (x * slope).flatten(1).norm(dim=1)).tolist(), 1e-2)


def test_parts_that_do_nothing_for_both() -> None:
    x = pictures(2, side=8)
    right = torch.zeros(2, 8, 8, dtype=torch.float64)
    right[:, :2, :2], right[:, -2:, -2:] = 1.0, -1.0
    handle = api.wrap(Corners())

    def judged(values: Tensor) -> Any:
        e = explained(Corners(), x, values)
        return api.measure(handle, e, [NonSensitivity(regions="cells(4, 4)")], inputs=x)[0]

    m = judged(right)
    close(m.values, [0.0, 0.0])
    close(m.extras["dummy"], [0.0, 0.0])
    wrong = right.clone()
    wrong[:, 2:4, 4:6] = 2.0  # one of sixteen cells says something of nothing, as much as the two right ones together
    m = judged(wrong)
    close(m.values, [1 / 16] * 2)
    close(m.extras["dummy"], [0.5] * 2)
    missed = right.clone()
    missed[:, :2, :2] = 0
    m = judged(missed)
    close(m.values, [1 / 16] * 2)
    assert all(v > 0 for v in m.extras["missed"])
    together = torch.stack([torch.arange(64).view(8, 8) // 4, torch.arange(64).view(8, 8) // 32])
    both, *lone = (
        api.measure(handle, explained(Corners(), x[i], missed[i]), [NonSensitivity(regions=together[i])], inputs=x[i])[
            0
        ]
        for i in (slice(0, 2), slice(0, 1), slice(1, 2))
    )
    for name in ("dummy", "missed"):
        close(both.extras[name], [one.extras[name][0] for one in lone])
    close(both.values, [one.values[0] for one in lone])  # sixteen parts, and two
    close(both.values, [2 / 16, 1 / 2])  # the corner is two strips of four, or in one half


def test_a_redrawn_model_has_no_double() -> None:
    """A method that insists on double precision cannot be asked of a variant, and says so."""
    from pellucid.methods.deep_lift import DeepLift

    handle, x = api.wrap(deep()), pictures(1, side=SIDE).float()
    e = api.explain(handle, x, DeepLift(precision="double"), target=1)
    m = api.measure(handle, e, [ParameterRandomisation(steps=2)], inputs=x)[0]
    assert all("does not run in double precision" in why for why in m.reasons), m.reasons


def test_of_two_classes_the_other_is_the_other() -> None:
    module = Linear(classes=2)
    [m] = scores(RandomLogit(), module, ["gradient"])
    w = module.out.weight.detach().double()
    signed = float(spearman(w[1], w[0]))
    close(m.extras["signed"], [signed] * 3, 1e-6)
    close(m.values, [max(0.0, signed)] * 3, 1e-6)
    from pellucid.core.target import Contrast

    handle, x = api.wrap(module), pictures(2, side=SIDE).float()
    e = api.explain(handle, x, "gradient", target=Contrast(0, 1))
    m = api.measure(handle, e, ["random_logit"], inputs=x)[0]
    assert set(m.reasons) == {"the map explains a difference of classes"}


def test_of_two_classes_a_map_that_turns_round_is_right_and_one_that_stays_is_wrong() -> None:
    module, x = Linear(classes=2), pictures(3, side=SIDE).float()
    with torch.no_grad():
        module.out.weight[0] = -module.out.weight[1]
    handle = api.wrap(module)
    turned, deaf = api.explain(handle, x, ["gradient", Edges()], target=1)
    got = api.measure(handle, [turned, deaf], ["random_logit"], inputs=x, methods=[Edges()])
    close(got[0].values, [0.0] * 3)
    close(got[0].extras["signed"], [-1.0] * 3)
    close(got[1].values, [1.0] * 3)
    likely = api.explain(handle, x, "gradient", target=1, output="probability")
    m = api.measure(handle, likely, ["random_logit"], inputs=x)[0]
    assert set(m.reasons) == {"of two classes, the other's map is this one turned round"}
