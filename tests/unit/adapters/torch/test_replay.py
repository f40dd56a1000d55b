"""Variants of a model run once what they have in common: the same numbers as whole passes, and fewer operators."""

# Where things are left is looked at from inside.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.unit.texts import Splitter, encoder
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid import api, registry
from pellucid.adapters.torch import session as sessions
from pellucid.adapters.torch.replay import GONE, Course, Diverged, Reading, Recording, Replay, Start, Weights
from pellucid.adapters.torch.session import TorchSession
from pellucid.adapters.torch.turns import Record
from pellucid.core.ask import Rows
from pellucid.core.errors import PellucidError
from pellucid.ops.redrawn import cascade, one_by_one

SIDE = 12
HEAVY = (F.conv2d, F.linear)


class Plain(nn.Module):
    """Three convolutions and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b, self.c):
            x = torch.relu(layer(x))
        return self.head(x.mean((2, 3)))


class Functional(Plain):
    """The same, in functions of torch."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b, self.c):
            x = F.relu(F.conv2d(x, layer.weight, layer.bias, padding=1))
        return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), self.head.weight, self.head.bias)


class Residual(nn.Module):
    """Batch norms, ReLUs in place, and sums in place of what was made long before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.one, self.two = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.down, self.act = nn.Conv2d(6, 6, 1), nn.ReLU(inplace=True)
        self.last, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.uniform_(self.norm.bias, -0.2, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        y = self.two(self.act(self.one(x)))
        y += self.down(x)
        y = self.act(self.last(self.act(y)))
        return self.head(y.mean((2, 3)))


class Dense(nn.Module):
    """What was made is joined with what comes later, batch norms before ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3 + 4 * i) for i in range(3))
        self.head = nn.Linear(15, 4)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return self.head(x.mean((2, 3)))


class Overwriting(nn.Module):
    """What the first layer made is overwritten behind the second and the third, and the input as well."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(5, 5, 3)
        self.d, self.head = nn.Conv2d(5, 5, 1), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.5)
        first = self.a(x)
        y = torch.relu(self.b(first.clone()))
        first.view(len(x), -1).add_(1.0)
        z = self.c(torch.relu(y))
        first.mul_(2.0)
        z = self.d(torch.relu(z))
        return self.head(z.mean((2, 3))) + self.head(first.tanh().mean((2, 3)))


class Branches(nn.Module):
    """A side branch nobody reads, shapes, tuples, an iterator, a block without gradients, and what a module keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.side = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 2, 1)
        self.b, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)
        self.mid, self.kept = nn.Linear(6, 6), torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        self.kept = y
        self.side(y)
        pooled = y.mean((2, 3))
        with torch.no_grad():
            scale = self.mid(pooled).sigmoid()
        left, right = y.chunk(2, 1)
        rows, channels = y.shape[:2]
        one, *_ = (y * 0.1).mean((2, 3)).unbind(1)
        first, *_ = scale[:, :2].T
        z = torch.relu(self.b(torch.cat([right, left], 1))) * scale.view(rows, channels, 1, 1)
        return self.head((z + self.kept).mean((2, 3))) * (1 + first[:, None]) + one[:, None]


class Own(torch.autograd.Function):
    """x · sigmoid(x), by a function of somebody's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return grads[0] * (s + x * s * (1 - s))


class Functions(Plain):
    """Activations that torch does not tell anybody of, and that are kept for later."""

    def forward(self, x: Tensor) -> Tensor:
        first = Own.apply(self.a(x))
        y = Own.apply(self.b(first))
        y = torch.relu(self.c(y)) + first[..., 1:-1, 1:-1]
        return self.head(y.mean((2, 3)))


class Unseen(Plain):
    """Something is computed where no mode is asked, and read at the end; in a replay it would come of nothing."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        with torch._C.DisableTorchFunction():
            early = x.tanh()
        x = torch.relu(self.b(torch.relu(x)))
        with torch._C.DisableTorchFunction():
            x = x * x
        x = torch.relu(self.c(x * 2))
        return self.head(x.mean((2, 3))) + early.mean((2, 3))[:, :4]


class Masked(Plain):
    """A ReLU in two parts, with a layer between them."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        mask = x > 0
        y = self.b(x)
        x = torch.where(mask, x, torch.zeros_like(x)) + y
        return self.head(torch.relu(self.c(x)).mean((2, 3)))


class Counting(Plain):
    """Goes another way at every second call, to the same end."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Counting.calls += 1
        x = torch.relu(self.a(x)) if Counting.calls % 2 else -(-self.a(x)).clamp(max=0)
        return self.head(torch.relu(self.c(torch.relu(self.b(x)))).mean((2, 3)))


class Scaled(Plain):
    """Begins with a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)


class Writing(Functional):
    """Counts in a buffer, which the answer depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.zero_().add_(1)
        return super().forward(x) * self.seen


def transformer() -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.models.vision_transformer.VisionTransformer(
        img_size=SIDE, patch_size=4, embed_dim=12, depth=3, num_heads=2, num_classes=4
    )


REPLAYED: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "functional": Functional,
    "residual": Residual,
    "dense": Dense,
    "overwriting": Overwriting,
    "branches": Branches,
    "functions": Functions,
    "transformer": transformer,
}
WHOLE: dict[str, Callable[[], nn.Module]] = {"writing": Writing}
ANY = REPLAYED | WHOLE | {"counting": Counting, "unseen": Unseen, "masked": Masked}
METHODS = ("gradient", "grad_cam", "occlusion", "integrated_gradients", "guided_backprop", "rect_grad", "lrp")
IMPOSSIBLE = {
    ("functional", "grad_cam"),
    ("functions", "lrp"),
    ("functions", "guided_backprop"),
    ("functions", "rect_grad"),
    ("writing", "grad_cam"),
    ("counting", "lrp"),
    ("counting", "guided_backprop"),  # it says something else of either way
    ("counting", "rect_grad"),
    ("transformer", "lrp"),
    ("transformer", "guided_backprop"),
    ("transformer", "rect_grad"),
}
"""Methods that refuse the net."""
PAIRS = [
    *((name, method) for name in ANY for method in METHODS if (name, method) not in IMPOSSIBLE),
    *(("transformer", method) for method in ("attention_rollout", "generic_attention")),
]


def net(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return make().double().eval()


def rows(count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


class Counted(TorchFunctionMode):
    """Counts what really runs: entered first, it is asked last."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Any] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[func] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def whole() -> Generator[None]:
    """Without replaying."""
    before = TorchSession.replaying
    TorchSession.replaying = lambda self, lanes: nullcontext(False)  # pyright: ignore
    try:
        yield
    finally:
        TorchSession.replaying = before


def measured(
    module: nn.Module,
    method: Any,
    x: Tensor,
    *,
    order: str = "cascade",
    steps: int = 4,
    at_once: Any = "auto",
    **how: Any,
) -> Any:
    handle = api.wrap(module, rows=at_once)
    chosen = registry.make_all([method])
    e = api.explain(handle, x, chosen, target=1)
    metric = registry.make_metric("parameter_randomisation", {"steps": steps, "order": order, **how})
    [got] = api.measure(handle, e, [metric], inputs=x, methods=chosen)
    return got


def curves(got: Any) -> Tensor:
    assert got.curve is not None
    return torch.tensor([y for _, y in got.curve], dtype=torch.float64)


def same(one: Any, other: Any) -> None:
    assert one.reasons == other.reasons
    torch.testing.assert_close(curves(one), curves(other), rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_the_same_numbers_as_whole_passes(name: str, method: str) -> None:
    module, x = net(ANY[name]), rows()
    got = measured(module, method, x, steps=6)
    with whole():
        same(got, measured(module, method, x, steps=6))


@pytest.mark.parametrize(
    ("name", "method", "order", "steps"),
    [("masked", "guided_backprop", "independent", 4), ("unseen", "gradient", "cascade", 3)],
)
def test_a_cut_is_not_where_somebody_needs_to_know_more(name: str, method: str, order: str, steps: int) -> None:
    """A ReLU is cut in two, or what is read was computed where nobody was asked."""
    module, x = net(ANY[name]), rows()
    got = measured(module, method, x, order=order, steps=steps)
    assert not got.passes.tails
    with whole():
        same(got, measured(module, method, x, order=order, steps=steps))


@pytest.mark.parametrize("likeness", ["spearman", "abs_spearman", "ssim"])
@pytest.mark.parametrize("order", ["cascade", "independent"])
def test_every_order_and_likeness(order: str, likeness: str) -> None:
    module, x = net(Residual), rows(3)
    for method in ("gradient", "grad_cam"):
        for at_once in (1, "auto"):
            got = measured(module, method, x, order=order, likeness=likeness, at_once=at_once)
            assert got.passes.tails
            with whole():
                same(got, measured(module, method, x, order=order, likeness=likeness, at_once=at_once))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name in REPLAYED
        for method in ("gradient", "occlusion", "grad_cam", "guided_backprop", "deconvnet")
        if (name, method.replace("deconvnet", "guided_backprop")) not in IMPOSSIBLE
    ],
)
def test_these_nets_are_replayed(name: str, method: str) -> None:
    got = measured(net(REPLAYED[name]), method, rows())
    with whole():
        every = measured(net(REPLAYED[name]), method, rows())
    assert got.passes.tails > 0
    assert got.passes.forward + got.passes.tails == every.passes.forward
    assert got.passes.backward == every.passes.backward


@pytest.mark.parametrize("method", ["gradient", "lime", "generic_attention"])
def test_models_of_texts_are_replayed(method: str) -> None:
    """What enters are vectors, behind the first layer."""
    told = ["the film was good and great", "a bad film"]
    handle = api.wrap(encoder(), Splitter())
    chosen = [registry.make(method, {"samples": 8} if method == "lime" else {})]
    e = api.explain(handle, told, chosen, target=1)
    metric = registry.make_metric("parameter_randomisation", {"steps": 5})
    got = api.measure(handle, e, [metric], inputs=told, methods=chosen)
    assert got[0].passes.tails
    with whole():
        for one, other in zip(got, api.measure(handle, e, [metric], inputs=told, methods=chosen), strict=True):
            same(one, other)


def test_a_net_that_writes_into_itself_runs_whole() -> None:
    assert measured(net(Writing), "gradient", rows()).passes.tails == 0


@pytest.mark.parametrize("method", ["gradient", "occlusion", "grad_cam", "smooth_grad", "guided_backprop"])
def test_operators_before_the_first_changed_weight_run_once(method: str) -> None:
    """Redrawn are the head; c too; b too; all. So the second pass leaves out a and b, the third a."""
    module, x = net(Plain), rows(1)
    chosen = registry.make(method, {"samples": 3} if method == "smooth_grad" else {})
    handle = api.wrap(module)
    e = api.explain(handle, x, [chosen], target=1)
    metric = registry.make_metric("parameter_randomisation", {"steps": 4})
    counts: list[int] = []
    for how in (nullcontext, whole):
        api.measure(handle, e, [metric], inputs=x, methods=[chosen])  # what is found out once is known
        with how(), Counted() as counted:
            api.measure(handle, e, [metric], inputs=x, methods=[chosen])
        counts.append(sum(counted.calls[f] for f in HEAVY))
    assert counts[1] - counts[0] == 3  # one call each, of all rows at once


def test_every_method_gives_the_same() -> None:
    """Of those that can be asked: few samples, one small row."""
    module, x = net(Residual), rows(1)
    replayed: list[str] = []
    for name in registry.names():
        known = {p.name for p in registry.parameters(name)}
        try:
            method = registry.make(name, {n: 4 for n in ("samples", "steps") if n in known})
            got = measured(module, method, x, steps=3)
        except PellucidError:
            continue
        with whole():
            same(got, measured(module, method, x, steps=3))
        replayed += [name] * (got.passes.tails > 0)
    assert {"gradient", "smooth_grad", "integrated_gradients", "grad_cam", "lime", "rise", "kernel_shap"} <= {*replayed}


def test_nothing_is_left_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = net(Residual), rows()
    found: list[TorchSession] = []
    answered, count = sessions.answered, [0]

    def failing(*args: Any, **how: Any) -> Any:
        count[0] += how.get("again", False)
        if count[0] == 2:
            raise KeyError("in the middle")
        return answered(*args, **how)

    taking = TorchSession._taking_turns

    def seen(self: TorchSession, lanes: Any) -> Any:
        found.append(self)
        return taking(self, lanes)

    monkeypatch.setattr(TorchSession, "_taking_turns", seen)
    wanted = measured(module, "gradient", x)
    monkeypatch.setattr(sessions, "answered", failing)
    with pytest.raises(KeyError, match="in the middle"):
        measured(module, "gradient", x)
    assert found
    assert all(session.turns is None for session in found)
    assert not any(m._forward_hooks or m._forward_pre_hooks for s in found for m in s.ready.twin.modules())
    monkeypatch.setattr(sessions, "answered", answered)
    same(measured(module, "gradient", x), wanted)


@pytest.mark.parametrize("when", [1, 2, 3])
def test_out_of_memory_halves_the_rows_as_always(monkeypatch: pytest.MonkeyPatch, when: int) -> None:
    module, x = net(Residual), rows(4)
    with whole():
        wanted = measured(module, "gradient", x)
    run, count = TorchSession._pass, [0]

    def small(self: TorchSession, *args: Any) -> Any:
        count[0] += 1
        if count[0] == when:
            raise torch.OutOfMemoryError("out of memory")
        return run(self, *args)

    monkeypatch.setattr(TorchSession, "_pass", small)
    got = measured(module, "gradient", x)
    assert got.passes.retried > 0
    same(got, wanted)


def test_what_is_planned_is_what_is_run() -> None:
    module, x = net(Residual), rows(3)
    handle = api.wrap(module)
    for method in ("gradient", "grad_cam", "occlusion", "guided_backprop", "lrp"):
        chosen = registry.make_all([method])
        metric = registry.make_metric("parameter_randomisation", {"steps": 4})
        planned = api.plan(handle, x, chosen, metrics=[metric], target=1)
        e = api.explain(handle, x, chosen, target=1)
        [got] = api.measure(handle, e, [metric], inputs=x, methods=chosen)
        spent = e[0].record.passes + got.passes
        for what in ("forward", "tails", "backward", "calls"):
            assert getattr(planned.most, what) == getattr(spent, what), (method, what)


# -- the parts -----------------------------------------------------------------------------------------------------


def course(module: nn.Module, x: Tensor) -> Course:
    with torch.no_grad(), Reading(Weights(module), [x]) as reading:
        module(x)
    return reading.course


def named(course: Course, at: int | None) -> set[str]:
    return set() if at is None else {name.split(".")[0] for name in course.reads[at]}


def test_a_cut_is_before_the_first_changed_weight() -> None:
    seen = course(net(Plain), rows())
    assert named(seen, seen.cut(frozenset({"head.weight"}))) == {"head"}
    assert named(seen, seen.cut(frozenset({"head.weight", "b.bias"}))) == {"b"}
    assert seen.cut(frozenset({"a.bias", "head.bias"})) is None  # nothing would be left out
    assert seen.cut(frozenset({"unheard.of"})) is None
    scaled = course(net(Scaled), rows())
    assert scaled.cut(frozenset({"a.bias"})) is None  # but for a constant
    assert named(scaled, scaled.cut(frozenset({"b.bias"}))) == {"b"}


def test_a_cut_moves_down_to_before_what_is_overwritten_behind_it() -> None:
    seen = course(net(Residual), rows())
    assert named(seen, seen.cut(frozenset({"down.weight"}))) == {"two"}  # `+=` writes into what two made
    assert named(seen, seen.cut(frozenset({"last.weight"}))) == {"last"}
    own = course(net(Overwriting), rows())
    assert own.cut(frozenset({"b.weight"})) is None  # that is before a
    assert own.cut(frozenset({"c.weight"})) is None
    assert named(own, own.cut(frozenset({"d.weight"}))) == {"d"}
    assert named(own, own.cut(frozenset({"head.weight"}))) == {"head"}


def test_a_net_that_writes_into_its_buffers_has_no_cut() -> None:
    assert course(net(Writing), rows()).own


def test_a_recording_keeps_only_what_somebody_still_holds() -> None:
    module, x = net(Plain), rows()
    with torch.no_grad(), Recording(Weights(module), [x], ["head.weight"]) as made:
        wanted = module(x)
    start = made.starts["head.weight"][1]
    held = [t for t in start.given if isinstance(t, Tensor)]
    assert 1 <= len({id(t) for t in held}) <= 2  # what the head reads, and what the frame holds
    with torch.no_grad(), Counted() as counted, Replay(start) as replay:
        got = module(x)
    replay.verify()
    assert torch.equal(got, wanted)
    assert sum(counted.calls[f] for f in HEAVY) == 1


def test_a_tensor_that_nobody_held_cannot_be_read() -> None:
    one, replay = torch.ones(2), Replay(Start([torch.relu, torch.neg], [GONE, 3]))
    with replay:
        gone = torch.relu(one)
        assert replay.early
        assert torch.neg(gone) == 3
        assert not replay.early
        assert torch.equal(torch.abs(-one), one)
        with pytest.raises(Diverged):
            torch.abs(gone)
    with Replay(Start([torch.relu], [3])), pytest.raises(Diverged):
        torch.abs(one)
    with pytest.raises(Diverged):
        Replay(Start([torch.relu], [3])).verify()


def test_a_record_is_of_its_rows_alone() -> None:
    x, zero = rows(2), torch.zeros(2, dtype=torch.int64)

    def asked(points: Tensor, numbers: Tensor) -> Rows:
        return Rows(2, lambda: points, lambda: points, lambda: zero, numbers, lambda out, _: out, 0)

    record = Record(x.clone(), zero, x, x, None, {})
    assert record.of(asked(x, zero))
    assert not record.of(asked(x.flip(0), zero))
    assert not record.of(asked(x[:1], zero[:1]))
    assert not record.of(asked(x, zero + 1))


def test_equal_tensors_of_two_variants_are_drawn_once() -> None:
    module = net(Plain)
    weights = {name: t.detach() for name, t in module.named_parameters()}
    for make in (cascade, one_by_one):
        variants = make(["a", "b", "c", "head"], 4, 0)
        apart = make(["a", "b", "c", "head"], 4, 0)
        fresh = [dict(v.change(weights)) for v in apart[::-1]][::-1]
        for one, other in zip((dict(v.change(weights)) for v in variants), fresh, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
    one, two = (v.change(weights) for v in cascade(["a", "head"], 2, 0))
    assert one["head.weight"] is two["head.weight"]
