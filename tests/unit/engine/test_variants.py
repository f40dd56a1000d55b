"""A method asked of the model with other weights says what it says of a model that really has them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid import api, registry
from pellucid.core.ask import Attribution, Query, Variant, Where, attribution
from pellucid.core.errors import PellucidError
from pellucid.core.fold import Only
from pellucid.ops.redrawn import Redrawn, cascade, one_by_one, stages

METHODS = ("gradient", "input_x_gradient", "guided_backprop", "grad_cam", "smooth_grad", "lrp", "deep_lift")
METHODS += ("integrated_gradients", "ablation_cam", "score_cam", "occlusion", "full_grad", "rect_grad", "rise")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.head = nn.Conv2d(8, 6, 3, padding=1), nn.Linear(6, 4)
        self.norm.running_mean.uniform_(-0.2, 0.2)
        self.norm.running_var.uniform_(0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.a(x)))
        return self.head(torch.relu(self.b(x)).mean((2, 3)))


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net().eval()


def rows(seed: int = 1) -> Tensor:
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Asking:
    """Another method's map, asked of a variant."""

    inner: Any
    variant: Variant | None
    shift: float = 0.0

    @property
    def about(self) -> Any:
        return replace(self.inner.about, name="asking")

    async def explain(self, q: Query) -> Attribution:
        points = type(q.at)(q.x + self.shift)
        got = await q.explain(self.inner, points, Only(), Where(variant=self.variant))
        return attribution(got.values, dims=got.like.dims[1:], at=got.like.at)


def asked(module: nn.Module, x: Tensor, name: str, variant: Variant | None, shift: float = 0.0) -> Tensor:
    from pellucid.engine import Task, run

    handle = api.wrap(module)
    method = registry.make(name)
    with handle.ready(x) as session:
        from pellucid.api.entries import references_of
        from pellucid.core.target import Class

        task = Task(Asking(method, variant, shift), (Class(1),), method.about.output)
        return run(session, x, [task], references_of(handle)).results[0].attribution.values[0]


@pytest.mark.parametrize("name", METHODS)
def test_a_variant_is_the_model_with_those_weights(name: str) -> None:
    module, x = net(), rows()
    change = Redrawn(frozenset({"head", "norm"}), 3)
    got = asked(module, x, name, Variant("other", change))
    other = copy.deepcopy(module)
    other.load_state_dict({**other.state_dict(), **change(dict(module.state_dict()))})
    wanted = api.explain(api.wrap(other, evaluate="plain"), x, registry.make(name), target=1)[0].values
    torch.testing.assert_close(got, wanted.to(got), rtol=1e-4, atol=1e-6)
    clean = api.explain(api.wrap(module), x, registry.make(name), target=1)[0].values
    assert (got - clean.to(got)).abs().max() > 1e-2 * clean.abs().max()


def test_the_model_keeps_its_weights() -> None:
    module, x = net(), rows()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    asked(module, x, "gradient", Variant("other", Redrawn(frozenset({"a", "b", "norm", "head"}), 0)))
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not module._forward_pre_hooks


def test_variants_are_forgotten_beyond_a_few() -> None:
    module, x = net(), rows()
    handle = api.wrap(module)
    e = api.explain(handle, x, ["gradient", "guided_backprop"], target=0)
    api.measure(
        handle,
        e,
        [registry.make_metric("parameter_randomisation", {"steps": 4, "seed": s}) for s in range(3)],
        inputs=x,
    )
    with handle.ready(x) as session:
        assert len(session.ready.variants) <= 4
        nets = set(session.ready.variants.values()) | {session.ready.twin, session.ready.prepared}
        assert {key[0] for key in session.ready.audits} <= nets


def test_nothing_but_a_variant_is_taken() -> None:
    from pellucid.core.ask import Edit
    from pellucid.core.site import as_site

    @dataclass(frozen=True)
    class Bad(Asking):
        async def explain(self, q: Query) -> Attribution:
            where = Where(edit=Edit(as_site("a"), "nothing", lambda a, k, b: a))
            return await q.explain(self.inner, q.at, Only(), where)

    handle = api.wrap(net())
    with pytest.raises(PellucidError, match="under a rule or an edit"):
        api.explain(handle, rows(), Bad(registry.make("gradient"), None))


def test_modules_with_weights_in_the_order_in_which_they_run() -> None:
    class Odd(Net):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(3, 1, 1))
            self.first, self.b = self.b, nn.Conv2d(8, 6, 3)

    class Turned(nn.Module):
        """Defined the other way round."""

        def __init__(self) -> None:
            super().__init__()
            self.out, self.mid, self.inn = nn.Linear(3, 2), nn.Linear(4, 3), nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.relu(self.mid(torch.relu(self.inn(x)))))

    with api.wrap(net()).ready(rows()) as session:
        assert session.weighted == ("a", "norm", "b", "head")
    with api.wrap(Odd().eval()).ready(rows()) as session:
        assert session.weighted[:2] == ("", "a") or session.weighted[0] == ""
    with api.wrap(Turned()).ready(torch.rand(2, 5)) as session:
        assert session.weighted == ("inn", "mid", "out")


def test_stages_begin_with_the_head_and_end_with_all() -> None:
    assert stages(99, 5) == [1, 26, 50, 74, 99] or stages(99, 5)[::4] == [1, 99]
    assert stages(3, 9) == [1, 2, 3]
    assert stages(1, 5) == [1]
    names = ["a", "b", "c"]
    assert [sorted(v.change.modules) for v in cascade(names, 3, 0)] == [["c"], ["b", "c"], ["a", "b", "c"]]
    assert [sorted(v.change.modules) for v in one_by_one(names, 3, 0)] == [["c"], ["b"], ["a"]]


def test_weights_are_redrawn_at_their_own_scale_and_alike_at_every_step() -> None:
    def tensors() -> Mapping[str, Tensor]:
        draw = torch.Generator().manual_seed(0)
        return {
            "m.weight": 0.3 + 2 * torch.randn(60, 50, generator=draw),
            "n.running_var": torch.rand(40, generator=draw) + 0.1,
            "n.num_batches_tracked": torch.tensor(7),
            "o.weight": torch.ones(3),
        }

    one, more = Redrawn(frozenset({"m"}), 0)(tensors()), Redrawn(frozenset({"m", "n"}), 0)(tensors())
    assert set(one) == {"m.weight"} and torch.equal(one["m.weight"], more["m.weight"])
    assert abs(float(one["m.weight"].mean()) - 0.3) < 0.15 and abs(float(one["m.weight"].std()) - 2) < 0.1
    assert set(more) == {"m.weight", "n.running_var"}
    assert torch.equal(more["n.running_var"].sort().values, tensors()["n.running_var"].sort().values)
    assert not torch.equal(Redrawn(frozenset({"m"}), 1)(tensors())["m.weight"], one["m.weight"])


def test_a_shifted_model_says_the_same_of_shifted_rows() -> None:
    module, x = net(), rows()

    def same(_: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {}

    moved = Variant(("moved", 0.7), same, 0.7)
    for name in ("gradient", "grad_cam", "integrated_gradients", "smooth_grad", "lime"):
        got = asked(module, x, name, moved, 0.7)
        wanted = api.explain(api.wrap(module, evaluate="plain"), x, registry.make(name), target=1)[0].values
        assert (got - wanted).norm() <= 1e-2 * wanted.norm(), name
    got = asked(module, x, "input_x_gradient", moved, 0.7)
    slope = api.explain(api.wrap(module), x, "gradient", target=1)[0].values
    torch.testing.assert_close(got, (x + 0.7) * slope, rtol=1e-3, atol=1e-6)
