"""Every kind of question that a method may ask, each against a model edited or derived by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid import api
from pellucid.core.ask import Attribution, Edit, Query, Variant, Where, attribution
from pellucid.core.errors import SiteError, UnsupportedModel
from pellucid.core.explanation import Kind, Passes
from pellucid.core.fold import Mean, Moments, Stack, Weighted
from pellucid.core.method import About
from pellucid.core.points import Along, Around, At, Built, Masked
from pellucid.core.site import Site
from pellucid.core.target import Class, Score, Target, Unit
from pellucid.engine import Task, run
from pellucid.methods.cam import GradCAM
from pellucid.methods.gradient import Gradient
from pellucid.ops.reference import References
from pellucid.propagation import Deconv, Guided
from pellucid.testing import tiny
from pellucid.testing.answers import explained
from pellucid.testing.nets import Convnet

CLASS = 1


@dataclass
class Asking:
    """Stands where a method would, asks one question, and keeps the answer."""

    question: Callable[[Query], Any]
    answer: Any = None
    about: About = field(default=Gradient.about)

    async def explain(self, q: Query) -> Attribution:
        self.answer = await self.question(q)
        return attribution(torch.zeros(1, len(q.x)))


def ask(
    model: Any, x: Tensor, question: Callable[[Query], Any], target: Target | None = None, **how: Any
) -> tuple[Any, Passes]:
    """The answer to one question, and the passes that it took."""
    handle, asking = api.wrap(model, **how), Asking(question)
    with handle.ready(x) as session:
        task = Task(asking, (Class(CLASS) if target is None else target,), "logit")
        outcome = run(session, x, [task], lambda rows: References(rows, handle.preprocess))
    return asking.answer, outcome.passes


def tail(net: Convnet, act: Tensor) -> Tensor:
    """From the output of bn2 to the scores."""
    return net.fc(F.relu(act).mean((2, 3)))


def head(net: Convnet, x: Tensor) -> Tensor:
    """From the rows to the output of bn2."""
    return net.bn2(net.conv2(F.relu(net.bn1(net.conv1(x)))))


@pytest.fixture(params=["convnet", "convnet_inplace", "convnet_uncopyable"])
def model(request: pytest.FixtureRequest) -> tiny.Tiny:
    made = tiny.make(request.param)
    made.module.eval()
    return made


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


def test_scores_and_outputs(model: tiny.Tiny) -> None:
    with torch.no_grad():
        out = model.module(model.x)
    close(ask(model.module, model.x, lambda q: q.score())[0], out[None, :, CLASS])
    close(ask(model.module, model.x, lambda q: q.outputs())[0], out[None])
    stacked, _ = ask(model.module, model.x, lambda q: q.outputs(Along(0 * q.x, q.x, (0.5, 1.0)), Stack()))
    with torch.no_grad():
        close(stacked, torch.stack([model.module(0.5 * model.x), out])[None])


def test_an_edited_site(model: tiny.Tiny) -> None:
    """Ablate one channel: the score is that of a forward pass edited by hand."""
    edit = Edit(Site("bn2"), ("without", 2), lambda act, k, b: act.index_fill(1, torch.tensor([2]), 0.0))
    got, _ = ask(model.module, model.x, lambda q: q.score(where=Where(edit=edit)))
    with torch.no_grad():
        act = head(model.module, model.x)
        act[:, 2] = 0
        close(got, tail(model.module, act)[None, :, CLASS])


def test_edits_that_depend_on_the_number_of_the_point(model: tiny.Tiny) -> None:
    """All channels ablated in one question, one channel per point, as Ablation-CAM does."""

    def ablate(act: Tensor, k: Tensor, b: Tensor) -> Tensor:
        return act * (torch.arange(act.shape[1]) != k[:, None])[:, :, None, None]

    def question(q: Query) -> Any:
        same = Built(q.x, ("same",), 4, lambda k, rows: rows)
        return q.score(same, Stack(), Where(edit=Edit(Site("bn2"), "each", ablate)))

    for rows in (1, 2, 5, "auto"):
        got, passes = ask(model.module, model.x, question, rows=rows)
        for k in range(4):
            with torch.no_grad():
                act = head(model.module, model.x)
                act[:, k] = 0
                close(got[0, k], tail(model.module, act)[:, CLASS])
        assert passes.forward == 3 + 4 * 3  # the clean rows, and one edited row per channel and image


def test_the_gradient_of_an_edited_model(model: tiny.Tiny) -> None:
    edit = Edit(Site("bn2"), "half", lambda act, k, b: act * 0.5)
    got, _ = ask(model.module, model.x, lambda q: q.grad(where=Where(edit=edit)))
    x = model.x.clone().requires_grad_()
    score = tail(model.module, 0.5 * head(model.module, x))[:, CLASS].sum()
    close(got[0], torch.autograd.grad(score, x)[0])


def test_other_weights(model: tiny.Tiny) -> None:
    """A variant answers with its weights; the model keeps its own."""
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    other = {"fc.weight": -before["fc.weight"], "bn2.running_mean": before["bn2.running_mean"] + 1}
    variant = Variant("turned", lambda weights: {k: other[k] for k in other if k in weights})
    if "in_place" in model.traits:
        with pytest.raises(UnsupportedModel, match="cannot be copied"):
            ask(model.module, model.x, lambda q: q.grad(where=Where(variant=variant)))
        return
    got, _ = ask(model.module, model.x, lambda q: q.grad(where=Where(variant=variant)))
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())
    plain, _ = ask(model.module, model.x, lambda q: q.grad())
    model.module.load_state_dict(other, strict=False)
    close(got, ask(model.module, model.x, lambda q: q.grad())[0])
    assert not torch.allclose(got, plain)


@pytest.mark.parametrize("rule", [Guided(), Deconv()])
def test_rules(model: tiny.Tiny, rule: Any) -> None:
    """Guided backpropagation and deconvnet, written out with two rectifiers and their masks."""
    got, _ = ask(model.module, model.x, lambda q: q.grad(where=Where(rule=rule)))
    net: Any = model.module
    x = model.x.clone().requires_grad_()
    low = net.bn1(net.conv1(x))
    middle = F.relu(low).detach().requires_grad_()
    high = net.bn2(net.conv2(middle))
    top = F.relu(high).detach().requires_grad_()
    signal = torch.autograd.grad(net.fc(top.mean((2, 3)))[:, CLASS].sum(), top)[0].clamp(min=0)
    signal = signal * (high > 0) if isinstance(rule, Guided) else signal
    signal = torch.autograd.grad(high, middle, signal)[0].clamp(min=0)
    signal = signal * (low > 0) if isinstance(rule, Guided) else signal
    close(got[0], torch.autograd.grad(low, x, signal)[0])


def test_sites(model: tiny.Tiny) -> None:
    """Activation and gradient of a layer, folded over points too; what follows in place does not reach them."""
    act, slope = ask(model.module, model.x, lambda q: q.site("bn2"))[0]
    inner = head(model.module, model.x).detach().requires_grad_()
    wanted = torch.autograd.grad(tail(model.module, inner)[:, CLASS].sum(), inner)[0]
    close(act, inner.detach())
    close(slope[0], wanted)
    t, w = (0.25, 1.0), (0.5, 2.0)
    folded, slopes = ask(model.module, model.x, lambda q: q.site("bn2", Along(0 * q.x, q.x, t), Weighted(w)))[0]
    with torch.no_grad():
        close(folded, 0.5 * head(model.module, 0.25 * model.x) + 2 * head(model.module, model.x))
    assert slopes.shape == (1, *folded.shape)


def test_points_that_enter_inside(model: tiny.Tiny) -> None:
    """Scores and gradients where the points are activations of a layer, with the clean rows before it."""

    def question(q: Query) -> Any:
        return q.grad(At(act), where=Where(into=Site("bn2")))

    act = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    got, _ = ask(model.module, model.x, question)
    inner = act.clone().requires_grad_()
    score = tail(model.module, inner)[:, CLASS]
    close(got[0], torch.autograd.grad(score.sum(), inner)[0])
    at, _ = ask(model.module, model.x, lambda q: q.score(At(act), where=Where(into=Site("bn2"))))
    close(at[0], score.detach())


def test_another_method_at_other_points(model: tiny.Tiny) -> None:
    """The explanation at every noisy point is what `explain` gives there, for the clean rows' classes."""
    found, passes = ask(
        model.module, model.x, lambda q: q.explain(GradCAM(at="bn2"), Around(q.x, q.std(0.3), 3, 5), Stack())
    )
    points = Around(model.x, 0.3 * _range(model.x), 3, 5)
    for k in range(3):
        x = points.rows(k, k + 1, 0, 3)
        close(found.values[0, k], explained(GradCAM(at="bn2"), model, x, target=CLASS).values)
    assert passes.backward == 9
    mean, _ = ask(model.module, model.x, lambda q: q.explain(Gradient(), points, Mean()))
    each = [explained(Gradient(), model, points.rows(k, k + 1, 0, 3), target=CLASS).values for k in range(3)]
    close(mean.values[0], torch.stack(each).mean(0))


def _range(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    return (flat.amax(1) - flat.amin(1)).view(-1, 1, 1, 1) * torch.ones_like(x[:1])


def test_moments_over_points(model: tiny.Tiny) -> None:
    points = Around(model.x, 0.2 * torch.ones_like(model.x[:1]), 6, 1)
    got, _ = ask(model.module, model.x, lambda q: q.grad(points, Moments()), rows=4)
    every, _ = ask(model.module, model.x, lambda q: q.grad(points, Stack()))
    close(got.mean, every.mean(1))
    close(got.square, every.square().mean(1))
    close(got.var, every.var(1))


def test_hidden_parts(model: tiny.Tiny) -> None:
    parts = torch.arange(64).view(8, 8) // 32
    hidden = torch.tensor([[False, False], [True, False], [True, True]])
    fill = torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    got, _ = ask(model.module, model.x, lambda q: q.outputs(Masked(q.x, hidden, parts, fill), Stack()))
    with torch.no_grad():
        upper = torch.cat([fill.expand(3, -1, -1, -1)[:, :, :4], model.x[:, :, 4:]], 2)
        wanted = [model.module(x) for x in (model.x, upper, fill.expand(3, -1, -1, -1))]
    close(got[0], torch.stack(wanted))


def test_units_and_functions_as_targets(model: tiny.Tiny) -> None:
    x = model.x.clone().requires_grad_()
    act = head(model.module, x)
    for index, score in {(2,): act[:, 2].mean((1, 2)), (1, 3, 4): act[:, 1, 3, 4]}.items():
        wanted = torch.autograd.grad(score.sum(), x, retain_graph=True)[0]
        close(explained(Gradient(), model, target=Unit("bn2", index)).values, wanted)
    entropy = Score(lambda out: -(out.softmax(1) * out.log_softmax(1)).sum(1), "entropy")
    out = tail(model.module, act)
    e = explained(Gradient(), model, target=entropy)
    close(e.values, torch.autograd.grad(entropy.fn(out).sum(), x)[0])
    assert e.target.name == ("entropy",) * 3


def test_layers_that_run_twice_say_which_call() -> None:
    model = tiny.make("convnet_shared")
    net: Any = model.module.eval()
    with pytest.raises(SiteError, match="runs 2 times"):
        explained(Gradient(at="relu"), model)
    with torch.no_grad():
        first = F.relu(net.bn1(net.conv1(model.x)))
        acts = [first, F.relu(net.bn2(net.conv2(first)))]
    for call, wanted in enumerate(acts):
        close(ask(net, model.x, lambda q, call=call: q.site(f"relu[{call}]"))[0][0], wanted)
    close(explained(Gradient(at=net.bn2), model).values, explained(Gradient(at="bn2"), model).values)


@pytest.mark.parametrize("name", ["convnet", "convnet_functional", "convnet_inplace", "residual", "dense"])
def test_sites_between_a_convolution_and_its_norm_are_answered_unfolded(name: str) -> None:
    """Prepared evaluation folds the norm away; who asks for the convolution gets what the convolution gives."""
    model = tiny.make(name)
    net: Any = model.module.eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = "stem" if name == "residual" else "conv1"
    layer, norm = ("conv", "bn") if name == "residual" else (layer, "norm" if name == "dense" else "bn1")
    seen: dict[str, Tensor] = {}
    handles = [
        getattr(net, at).register_forward_hook(lambda m, a, out, at=at: seen.__setitem__(at, out.detach().clone()))
        for at in (layer, norm)
    ]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    wanted = dict(seen)
    for at in (layer, norm):
        act, slope = ask(net, x, lambda q, at=at: q.site(at), evaluate="prepared")[0]
        close(act, wanted[at])
        close(slope, ask(net, x, lambda q, at=at: q.site(at), evaluate="plain")[0][1])
    both = api.explain(api.wrap(net, evaluate="prepared"), x, [Gradient(), Gradient(at=layer)], target=CLASS)
    assert both[0].record.model.evaluator.startswith("prepared")
    plain = api.explain(api.wrap(net, evaluate="plain"), x, [Gradient(), Gradient(at=layer)], target=CLASS)
    for fast, slow in zip(both, plain, strict=True):
        assert fast.kind is Kind.SENSITIVITY
        close(fast.values, slow.values)
