"""A method that somebody defines elsewhere is one like all others: it shares, is planned, kept, listed and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pellucid import api, registry
from pellucid.core import store
from pellucid.core.ask import Attribution, Can, Query, attribution, together
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Moments, Weighted
from pellucid.core.method import at_least, method, param
from pellucid.core.points import Along, Around
from pellucid.methods.gradient import Gradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.ops.quadrature import RULES
from pellucid.testing import NotConforming, Watch, check_method, checks, tiny, watched
from pellucid.views import draw


def signed_root() -> Any:
    """A method of somebody's own: the root of the plain gradient, and beside it the spread under noise."""

    @method(kind=Kind.SENSITIVITY, cite="nobody2026root", family="mine")
    class SignedRoot:
        """a_i = sign(g_i) √|g_i|,  g = ∂s/∂x

        samples  draws for the spread that is reported beside it
        """

        samples: int = at_least(2, 8)
        spread: float = at_least(0.0, 0.15)
        seed: int = param(0)

        async def explain(self, q: Query) -> Attribution:
            noisy = q.grad(Around(q.x, q.std(self.spread), self.samples, self.seed), Moments())
            slope, moment = await together(q.grad(), noisy)
            return attribution(slope.sign() * slope.abs().sqrt(), extras={"spread": moment.var})

    return SignedRoot


def test_it_is_found_listed_and_built() -> None:
    cls = signed_root()
    assert "signed_root" in registry.names()
    assert registry.find("SignedRoot") is registry.find("signed-root") is registry.find("Signed Root") is cls
    assert registry.make("signed_root", {"samples": "3"}) == cls(samples=3)
    assert [p.name for p in registry.parameters("signed_root")] == ["samples", "spread", "seed"]
    with pytest.raises(ParameterError, match="signed_root"):
        registry.find("signed_rot")
    with pytest.raises(ParameterError, match="at least 2"):
        cls(samples=1)


def test_it_passes_all_checks() -> None:
    results = check_method(signed_root(), ("convnet", "linear_rows"))
    assert {r.status for r in results} == {"passed"} and len(results) == len({r.name for r in results}) > 20


def test_it_shares_passes_with_the_built_in_ones() -> None:
    """The plain gradient and the noisy points are evaluated once for all three methods."""
    cls, watch, model = signed_root(), Watch(), tiny.make("convnet")
    handle = api.wrap(watched(model.module, watch))
    ran: dict[str, int] = {}
    for name, methods in {
        "mine": [cls()],
        "theirs": [Gradient(), SmoothGrad(samples=8)],
        "all": [cls(), Gradient(), SmoothGrad(samples=8)],
    }.items():
        watch.rows = 0
        e = api.explain(handle, model.x, methods, target=0)[0]
        ran[name] = watch.rows - e.record.passes.verification
        planned = api.plan(handle, model.x, methods, target=0)
        assert planned.least == planned.most
        assert (planned.least.forward, planned.least.backward) == (e.record.passes.forward, e.record.passes.backward)
        assert planned.least.forward == ran[name]
    rows = len(model.x)
    assert ran == {"mine": 9 * rows, "theirs": 9 * rows, "all": 9 * rows}
    assert api.plan(handle, model.x, [cls(), "gradient"], target=0).unshared.forward == 10 * rows


def test_it_is_kept_and_drawn(tmp_path: Path) -> None:
    model = tiny.make("convnet")
    es = api.explain(model.module, model.x, [signed_root()(samples=3), "gradient"], target=0)
    back = store.load(store.save(es, tmp_path / "both"))
    for got, wanted in zip(back, es, strict=True):
        assert torch.equal(got.values, wanted.values) and got.record == wanted.record
    assert torch.equal(back[0].extras["spread"], es[0].extras["spread"])
    assert back[0].record.params == {"samples": 3, "spread": 0.15, "seed": 0}
    assert json.dumps(back[0].record.params)
    assert back.sel(method="signed_root")[0].record.title == "Signed Root"
    assert len(draw(back[0])) == len(model.x)
    streamed = api.explain(model.module, model.x, [signed_root()()], target=0, save=tmp_path / "folder")
    assert torch.equal(streamed[0].values, api.explain(model.module, model.x, [signed_root()()], target=0)[0].values)


def test_it_can_be_wrapped_by_the_combinators() -> None:
    signed_root()
    wrapped = registry.make("smooth", {"method": "signed_root", "samples": 4})
    model = tiny.make("convnet")
    e = api.explain(model.module, model.x, wrapped, target=0)[0]
    assert e.record.params["method"]["method"] == "signed_root"
    assert e.values.shape == model.x.shape


def test_passes_of_an_adaptive_method_stay_in_the_planned_range() -> None:
    """How often the steps double is not known before; that it is once to four times is."""
    model = tiny.make("convnet")
    seen: set[int] = set()
    for tolerance in (10.0, 0.03, 1e-9):
        adaptive = IntegratedGradients(steps=2, tolerance=tolerance, max_steps=16)
        planned = api.plan(model.module, model.x, [adaptive], target=0)
        watch = Watch()
        e = api.explain(watched(tiny.make("convnet").module, watch), model.x, [adaptive], target=0)[0]
        low, did, high = planned.least.forward, e.record.passes.forward, planned.most.forward
        assert low < high and low <= did <= high
        assert watch.rows == did + e.record.passes.verification
        assert set(e.extras["steps"].tolist()) <= {2, 4, 8, 16}
        seen.add(did)
    assert min(seen) == low and max(seen) == high


# -- the checks find what is wrong -------------------------------------------------------------------------------


def wrong(name: str) -> Any:
    """A method that breaks one promise, or declares what does not hold."""

    async def mean_of_rows(self: Any, q: Query) -> Attribution:
        g = await q.grad()
        return attribution(g - g.mean(1, keepdim=True))

    async def global_noise(self: Any, q: Query) -> Attribution:
        return attribution(await q.grad() + torch.randn(q.x.shape[1:]).to(q.x))

    async def in_place(self: Any, q: Query) -> Attribution:
        q.x.mul_(2)
        return attribution(await q.grad())

    async def counting(self: Any, q: Query) -> Attribution:
        calls.append(1)
        return attribution(await q.grad() * len(calls))

    async def plain(self: Any, q: Query) -> Attribution:
        return attribution(await q.grad())

    async def squared(self: Any, q: Query) -> Attribution:
        return attribution((await q.grad()) ** 2)

    async def no_factor(self: Any, q: Query) -> Attribution:
        t, w = RULES["midpoint"](4)
        return attribution(await q.grad(Along(q.baseline("black"), q.x, t), Weighted(w)))

    async def constant(self: Any, q: Query) -> Attribution:
        return attribution(torch.ones_like(await q.grad()))

    async def positional(self: Any, q: Query) -> Attribution:
        g = await q.grad()
        return attribution(g * torch.arange(g.shape[-1]).to(g))

    async def batch_of_targets(self: Any, q: Query) -> Attribution:
        g = await q.grad()
        return attribution(g / g.abs().amax(0, keepdim=True).clamp_min(1e-9) * len(g))

    async def default_dtype(self: Any, q: Query) -> Attribution:
        torch.set_num_threads(torch.get_num_threads() + 1)
        return attribution(await q.grad())

    calls: list[int] = []
    bodies: dict[str, tuple[Any, set[str]]] = {
        "rows_do_not_see_each_other": (mean_of_rows, set()),
        "same_seed_same_bits": (global_noise, set()),
        "leaves_nothing_behind": (in_place, set()),
        "chunks_do_not_matter": (counting, set()),
        "keeps_completeness": (no_factor, {"completeness"}),
        "keeps_linear": (squared, {"linear"}),
        "keeps_dummy": (constant, {"dummy"}),
        "keeps_symmetry": (positional, {"symmetry"}),
        "targets_do_not_see_each_other": (batch_of_targets, set()),
        "failures_leave_nothing_behind": (default_dtype, set()),
        "nothing": (plain, {"linear", "dummy", "symmetry", "implementation_invariance"}),
    }
    body, keeps = bodies[name]
    return method(kind=Kind.SENSITIVITY, keeps=keeps, needs=(Can.GRADIENT,))(
        type("Wrong", (), {"explain": body, "__doc__": "Wrong on purpose."})
    )()


@pytest.mark.parametrize(
    "promise",
    [
        "rows_do_not_see_each_other",
        "same_seed_same_bits",
        "leaves_nothing_behind",
        "chunks_do_not_matter",
        "keeps_completeness",
        "keeps_linear",
        "keeps_dummy",
        "keeps_symmetry",
        "targets_do_not_see_each_other",
        "failures_leave_nothing_behind",
    ],
)
def test_a_broken_promise_is_found(promise: str) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        results = check_method(wrong(promise), ("convnet",), raises=False)
        failed = {r.name.partition("[")[0] for r in results if r.status == "failed"}
        assert promise in failed
        with pytest.raises(NotConforming):
            check_method(wrong(promise), ("convnet",))
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def test_a_kept_promise_is_not() -> None:
    assert {r.status for r in check_method(wrong("nothing"), ("convnet", "linear_rows"))} == {"passed"}


def test_checks_are_refused_early() -> None:
    with pytest.raises(ParameterError, match="grad_cam"):
        checks("grad_can")
    with pytest.raises(Exception, match="convnet"):
        checks("gradient", ("convnett",))
    odd = type("Odd", (), {"explain": Gradient.explain, "at": None, "__doc__": "Odd."})
    with pytest.raises(ParameterError, match="honesty"):
        checks(method(kind=Kind.SENSITIVITY, keeps={"honesty"})(odd)())
