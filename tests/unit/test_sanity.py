"""The suite: methods of which it is known what they do."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from pellucid import api, registry
from pellucid.api.sanity import sanity
from pellucid.core.errors import ParameterError
from pellucid.core.sanity import TESTS, verdict
from pellucid.ops.correlation import spearman

from .metrics.test_randomisation import Edges


class Deep(nn.Module):
    """Convolutions as wide as needed for guided backpropagation to see nothing but the first ones."""

    def __init__(self) -> None:
        super().__init__()
        wide = [3, 24, 24, 24, 24, 24]
        self.body = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(wide))
        self.head = nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.body:
            x = torch.relu(layer(x))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def handle() -> api.Handle:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return api.wrap(Deep().eval())


def rows(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def test_the_gradient_passes_and_guided_backpropagation_is_flagged(handle: api.Handle) -> None:
    got = sanity(handle, rows(), ["gradient", "guided_backprop", "smooth_grad"], target=1)
    state = {(v.method, v.test): v.state for v in got}
    assert state["gradient", "randomised weights"] == "passed"
    assert state["guided_backprop", "randomised weights"] == "failed"
    assert state["guided_backprop", "other class"] == "failed"
    assert state["gradient", "shifted input"] == "passed"
    assert state["gradient", "other seed"] == "none" and state["smooth_grad", "other seed"] != "none"
    assert "Guided Backpropagation" in got.flagged and "Gradient" not in got.flagged
    assert "✗" in str(got) and "last layer alone" in str(got)
    assert len(got.document()) == len(got) == 15


def test_guided_backpropagation_keeps_its_map_until_everything_is_redrawn(handle: api.Handle) -> None:
    m = sanity(handle, rows(), ["guided_backprop"], tests=["randomised weights"], steps=6, target=1).measurements[0]
    assert min(m.extras["head"]) > 0.95
    assert max(map(abs, m.extras["whole"])) < 0.5
    assert all(c[1][0] > abs(c[1][-1]) for c in m.curve)


def test_a_map_that_ignores_the_model_fails_every_test_of_dependence(handle: api.Handle) -> None:
    got = sanity(handle, rows(), [Edges()], target=1)
    state = {v.test: v.state for v in got}
    assert state["randomised weights"] == state["other class"] == "failed"


def test_results_carry_the_verdicts(handle: api.Handle) -> None:
    got = sanity(handle, rows(2), ["gradient", "guided_backprop"], target=1)
    guided = got.explanations[1].check("sanity: randomised weights")
    assert guided is not None and guided.passed == (False, False) and guided.limit == 0.5
    assert got.explanations[0].check("sanity: randomised weights").passed == (True, True)
    worst = next(v for v in got if v.method == "guided_backprop" and v.test == "randomised weights").value
    assert math.fsum(guided.value) / 2 == pytest.approx(worst)  # the step that the verdict looks at
    assert got.explanations[0].check("sanity: other methods").judged is False
    values = api.measure(handle, got.explanations[0], ["rank_agreement"], inputs=rows(2))[0].values
    assert len(values) == 2


def test_one_input_has_no_error_and_a_verdict(handle: api.Handle) -> None:
    [v] = sanity(handle, rows(1), "guided_backprop", tests="randomised weights", target=1)
    assert v.state == "failed" and math.isnan(v.error)


def test_unknown_tests_are_refused(handle: api.Handle) -> None:
    with pytest.raises(ParameterError, match="random"):
        sanity(handle, rows(1), "gradient", tests=["randomized weights"])


def test_within_an_error_of_the_limit_nothing_is_said(handle: api.Handle) -> None:
    from dataclasses import replace

    m = api.measure(handle, api.explain(handle, rows(), "gradient", target=1), ["random_logit"], inputs=rows())[0]
    test = next(t for t in TESTS if t.metric == "random_logit")
    for values, state in (
        ((0.1, 0.2, 0.1, 0.2), "passed"),
        ((0.8, 1.0, 0.8, 1.0), "unclear"),
        ((1.0, 0.99, 1.0, 0.99), "failed"),
        ((math.nan,) * 4, "none"),
    ):
        assert verdict(test, replace(m, values=values, curve=None, reasons=("no",) * 4)).state == state


@pytest.mark.slow
def test_on_the_bundled_model() -> None:
    """Adebayo et al. 2018, and the claim of the issue: 1.00 with the head redrawn, lost with everything."""
    from skimage import data

    model = api.load("efficientnet_lite0")
    got = sanity(
        model, [data.chelsea(), data.rocket()], ["gradient", "guided_backprop"], tests=["randomised weights"], steps=3
    )
    assert got.flagged == ("Guided Backpropagation",)
    gradient, guided = got.measurements
    assert min(guided.extras["head"]) > 0.99 and max(map(abs, guided.extras["whole"])) < 0.2
    assert max(abs(y) for c in gradient.curve for y in c[1]) < 0.5


def test_signed_ranks_are_those_of_the_maps_themselves(handle: api.Handle) -> None:
    """A second derivation: the cascade's last step by hand, on a model that really has the weights."""
    import copy

    from pellucid.ops.redrawn import Redrawn

    module = handle.module if hasattr(handle, "module") else None
    if module is None:
        pytest.skip("the handle does not show its module")
    m = sanity(handle, rows(), ["gradient"], tests=["randomised weights"], target=1).measurements[0]
    other = copy.deepcopy(module)
    names = frozenset(name for name, _ in module.named_modules())
    other.load_state_dict({**other.state_dict(), **Redrawn(names, 0)(dict(module.state_dict()))})
    a = api.explain(handle, rows(), registry.make("gradient"), target=1)[0].values
    b = api.explain(api.wrap(other), rows(), registry.make("gradient"), target=1)[0].values
    wanted = spearman(a.flatten(1).double(), b.flatten(1).double())
    torch.testing.assert_close(torch.tensor(m.extras["whole"]).double(), wanted, atol=1e-3, rtol=0)
