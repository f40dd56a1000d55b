"""The engine: who shares a pass with whom, how rows are cut, and what happens when something fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models import Convnet, net, pictures
from torch import Tensor

from pellucid.adapters.torch.session import TorchSession
from pellucid.api import explain, plan, wrap
from pellucid.core.ask import PLAIN, Ask, Attribution, Edit, Query, Variant, What, Where, attribution, together
from pellucid.core.errors import OutOfMemory, PellucidError
from pellucid.core.explanation import Passes
from pellucid.core.fold import Mean, Moments, Stack
from pellucid.core.method import About
from pellucid.core.points import Around, At, Built
from pellucid.core.site import Site
from pellucid.core.target import Class, Each, Target, Top
from pellucid.engine import Outcome, Task, run
from pellucid.engine.fuse import Block, Group, blocks, chunks, merge, shares
from pellucid.engine.run import describe, out_of_memory
from pellucid.methods.cam import GradCAM
from pellucid.methods.combinators import Integrate, Smooth
from pellucid.methods.expected_gradients import ExpectedGradients
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad, VarGrad
from pellucid.ops.reference import References
from pellucid.propagation.deeplift import Multipliers

X = pictures(3)
NET: Any = net(Convnet())
ONE = Class(1)


@dataclass
class Asking:
    """Stands where a method would: a coroutine, and what it gave."""

    talk: Callable[[Query], Any]
    targets: int = 1
    about: About = field(default=Gradient.about)
    got: Any = None

    async def explain(self, q: Query) -> Attribution:
        self.got = await self.talk(q)
        return attribution(torch.zeros(self.targets, len(q.x)))


def answered(*talks: Any, target: Target | Sequence[Target] = ONE, rows: Any = "auto", progress: Any = None) -> Outcome:
    targets = tuple(target) if isinstance(target, (tuple, list)) else (target,)
    handle = wrap(NET, rows=rows)
    with handle.ready(X) as session:
        tasks = [Task(talk, targets, "logit") for talk in talks]  # pyright: ignore
        return run(session, X, tasks, lambda x: References(x, handle.preprocess), progress)


def work(*talks: Any, **how: Any) -> tuple[int, int]:
    """Forward and backward rows per image."""
    passes = answered(*talks, **how).passes
    assert passes.forward % 3 == passes.backward % 3 == 0
    return passes.forward // 3, passes.backward // 3


def asking(question: Callable[[Query], Any]) -> Asking:
    async def talk(q: Query) -> Any:
        return await question(q)

    return Asking(talk)


# -- who shares a pass -------------------------------------------------------------------------------------------


def test_equal_points_are_evaluated_once_whoever_made_them() -> None:
    copies = [asking(lambda q: q.grad(At(q.x.clone()))) for _ in range(4)]
    assert work(*copies) == (1, 1)


def test_equal_noise_is_evaluated_once_for_other_folds() -> None:
    folds = [Mean(), Moments(), Stack()]
    talks = [asking(lambda q, fold=fold: q.grad(Around(q.x, q.std(0.1), 5, 3), fold)) for fold in folds]
    assert work(*talks) == (1 + 5, 5)


def test_scores_at_points_whose_gradients_are_asked_for_cost_nothing() -> None:
    talks = [
        asking(lambda q: q.grad(Around(q.x, q.std(0.1), 5, 3), Mean())),
        asking(lambda q: q.score(Around(q.x, q.std(0.1), 5, 3), Mean())),
        asking(lambda q: q.outputs(Around(q.x, q.std(0.1), 5, 3), Mean())),
    ]
    assert work(*talks) == (6, 5)


def test_scores_alone_need_no_backward_pass() -> None:
    assert work(asking(lambda q: q.score()), asking(lambda q: q.outputs())) == (1, 0)


def test_several_targets_share_the_forward_pass() -> None:
    assert work(asking(lambda q: q.grad()), target=(Class(1),)) == (1, 1)
    talk = Asking(lambda q: _grad(q), targets=3)
    assert work(talk, target=(Class(1), Class(2), Top(1))) == (1, 3)
    assert talk.got.shape == (3, *X.shape)


async def _grad(q: Query) -> Tensor:
    return await q.grad()


def test_questions_that_are_asked_together_are_one_round() -> None:
    async def talk(q: Query) -> Any:
        return await together(q.score(), q.grad(), q.score(At(q.x * 0)))

    passes = answered(Asking(talk)).passes
    assert (passes.rounds, passes.forward, passes.backward) == (1, 6, 3)


def test_questions_of_later_rounds_are_asked_anew() -> None:
    async def talk(q: Query) -> Any:
        await q.grad()
        return await q.grad()

    assert answered(Asking(talk)).passes == Passes(rounds=2, forward=6, backward=6, calls=2)


CAMS = ["grad_cam", "grad_cam_plus_plus", "x_grad_cam", "hi_res_cam", "layer_cam"]

COSTS: dict[str, tuple[Any, int, int]] = {
    # one clean row is always evaluated: the prediction is read there
    "gradient": ("gradient", 1, 1),
    "gradient and its product": ("v,gi", 1, 1),
    "occlusion": (Occlusion(window=4, stride=2, fill="black"), 1 + 9, 0),
    # five maps and the gradient ride on one pass
    "all CAMs of one layer and the gradient": ([*CAMS, "gradient"], 1, 1),
    "CAMs of two layers": ([GradCAM(at="relu1"), GradCAM(at="relu2")], 1, 1),
    "integrated gradients": (IntegratedGradients(steps=8), 1 + 8 + 1, 8),  # clean score, steps, baseline's score
    "integrated gradients twice": ([IntegratedGradients(steps=8), IntegratedGradients(steps=8, max_steps=8)], 10, 8),
    "integrated gradients and Grad-CAM": ([IntegratedGradients(steps=8), "grad_cam"], 1 + 8 + 1, 1 + 8),
    "two baselines": (IntegratedGradients(steps=8, baseline=("black", "white")), 1 + 2 * 8 + 2, 2 * 8),
    "smooth gradients of three kinds": (
        [SmoothGrad(samples=6), SmoothGrad(samples=6, times_input=True), VarGrad(samples=6)],
        1 + 6,
        6,
    ),
    # gradient and its product: 1; SmoothGrad and its product: 32; integrated gradients: 32 and the baseline's score;
    # guided backpropagation: 1, with other rules
    "sauron's six": ("sauron", 1 + 32 + 32 + 1 + 1, 1 + 32 + 32 + 1),
    "expected gradients": (ExpectedGradients(samples=7, baselines=("black", "white")), 1 + 7 + 2, 7),
    "guided Grad-CAM beside its parts": (["guided_grad_cam", "guided_backprop", "grad_cam"], 2, 2),
    "a smoothed gradient": (Smooth(method=Gradient(), samples=6), 1 + 6, 6),
    "an integrated gradient": (Integrate(method=Gradient(), steps=6), 1 + 6, 6),
    "a smoothed integrated gradient": (Smooth(method=IntegratedGradients(steps=3), samples=4), 1 + 4 * (3 + 2), 4 * 3),
}


@pytest.mark.parametrize("name", COSTS)
def test_the_cost_in_rows_per_image_of(name: str) -> None:
    methods, forward, backward = COSTS[name]
    passes = explain(NET, X, methods, target=1)[0].record.passes
    assert (passes.forward, passes.backward) == (3 * forward, 3 * backward)


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("rows", ["auto", 4])
def test_a_plan_is_what_a_run_does(name: str, rows: Any) -> None:
    handle = wrap(NET, rows=rows)
    planned = plan(handle, X, COSTS[name][0], target=1)
    passes = explain(handle, X, COSTS[name][0], target=1)[0].record.passes
    assert (
        planned.least
        == planned.most
        == Passes(rounds=passes.rounds, forward=passes.forward, backward=passes.backward, calls=passes.calls)
    )


# -- how rows are cut --------------------------------------------------------------------------------------------


@given(
    shapes=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=4), rows=st.integers(1, 20)
)
@settings(deadline=None, max_examples=80)
def test_chunks_cover_every_row_once_and_never_hold_too_many(shapes: list[tuple[int, int]], rows: int) -> None:
    groups = [Group(Built(torch.zeros(b, 1), (i,), k, lambda k, x: x), PLAIN) for i, (k, b) in enumerate(shapes)]
    seen = [torch.zeros(k, b) for k, b in shapes]
    for chunk in chunks(groups, rows):
        assert sum(block.count for block in chunk) <= rows
        for block in chunk:
            seen[groups.index(block.group)][block.k0 : block.k1, block.b0 : block.b1] += 1
    assert all(bool((one == 1).all()) for one in seen)


@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 6)), rows=st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_the_first_point_of_a_row_comes_before_its_others(shape: tuple[int, int], rows: int) -> None:
    group = Group(Built(torch.zeros(shape[1], 1), ("one",), shape[0], lambda k, x: x), PLAIN)
    last = dict.fromkeys(range(shape[1]), 0)
    for block in blocks(group, rows):
        for b in range(block.b0, block.b1):
            assert block.k0 == last[b]
            last[b] = block.k1


@given(k=st.integers(1, 6), b=st.integers(1, 6))
@settings(deadline=None, max_examples=20)
def test_halves_are_the_whole(k: int, b: int) -> None:
    if k * b == 1:
        return
    one, other = Block(None, 0, k, 0, b).halves()  # pyright: ignore
    assert one.count + other.count == k * b
    assert min(one.count, other.count) > 0


MANY: list[Any] = [
    Gradient(),
    SmoothGrad(samples=5),
    IntegratedGradients(steps=3, baseline=("black", "blur")),
    GradCAM(at="relu1"),
    Occlusion(window=4, fill="mean"),
    ExpectedGradients(samples=4),
    Smooth(method=GradCAM(at="relu2"), samples=3),
]


@pytest.mark.parametrize("target", [None, [0, Top(2)], Each([4, 0, 2])])
def test_the_answer_does_not_depend_on_the_rows_at_once(target: Any) -> None:
    wanted = explain(wrap(NET), X, MANY, target=target)
    for rows in (1, 2, 3, 5, 7, 100):
        got = explain(wrap(NET, rows=rows), X, MANY, target=target)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one.values, other.values, rtol=1e-9, atol=1e-13)
            assert one.target.name == other.target.name
            assert one.record.passes.forward == other.record.passes.forward


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 100])
def test_calls_hold_no_more_rows_than_allowed(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    plain = TorchSession.run
    monkeypatch.setattr(TorchSession, "run", lambda self, r, lane: (sizes.append(r.count), plain(self, r, lane))[1])
    passes = answered(asking(lambda q: q.grad(Around(q.x, q.std(0.1), 5, 0), Mean())), rows=rows).passes
    assert max(sizes) <= rows
    assert (sum(sizes), len(sizes)) == (passes.forward, passes.calls)
    if rows >= 3:  # the clean rows, and the noisy ones in whole batches
        assert len(sizes) == 1 + math.ceil(5 / (rows // 3))


def test_progress_counts_the_rows() -> None:
    seen: list[tuple[int, int]] = []
    passes = answered(
        asking(lambda q: q.grad(Around(q.x, q.std(0.1), 5, 0), Mean())), rows=4, progress=lambda *now: seen.append(now)
    ).passes
    assert sum(rows for rows, _ in seen) == passes.forward == 18
    assert [coming for _, coming in seen] == [18 - done for done in accumulate(rows for rows, _ in seen)]


# -- when memory ends --------------------------------------------------------------------------------------------


def cramped(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Passes with more than `most` rows fail; the sizes of those that were tried."""
    plain, tried = TorchSession.run, []

    def limited(self: Any, rows: Any, lane: Any) -> Any:
        tried.append(rows.count)
        if rows.count > most:
            raise error
        return plain(self, rows, lane)

    monkeypatch.setattr(TorchSession, "run", limited)
    return tried


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate")],
    ids=["accelerator", "python", "cpu"],
)
@pytest.mark.parametrize("most", [1, 2, 4])
def test_passes_that_do_not_fit_are_halved_and_the_answer_stays(
    monkeypatch: pytest.MonkeyPatch, most: int, error: Exception
) -> None:
    wanted = explain(wrap(NET), X, MANY)
    tried = cramped(monkeypatch, most, error)
    got = explain(wrap(NET), X, MANY)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one.values, other.values, rtol=1e-9, atol=1e-13)
        assert one.record.passes.forward == other.record.passes.forward
        assert one.record.passes.retried == sum(n for n in tried if n > most)


def test_what_did_not_fit_once_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = cramped(monkeypatch, 2, MemoryError())
    answered(asking(lambda q: q.grad(Around(q.x, q.std(0.1), 20, 0), Mean())), rows=16)
    assert [n for n in tried if n > 2] == [3, 15, 6, 3]  # clean rows; five points, two, one: once each


def test_one_row_that_does_not_fit_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    cramped(monkeypatch, 0, MemoryError("no room"))
    with pytest.raises(OutOfMemory, match=r"one row of \(3, 8, 8\)[\s\S]*smaller input"):
        explain(wrap(NET), X, "gradient", target=1)


def test_other_errors_of_the_model_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cramped(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        explain(wrap(NET), X, "gradient", target=1)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (ValueError("out"), False),
        (RuntimeError("size mismatch"), False),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), True),
        (MemoryError(), True),
    ],
)
def test_what_is_no_shortage_of_memory(error: Exception, is_one: bool) -> None:
    assert out_of_memory(error) is is_one


# -- when a method fails -----------------------------------------------------------------------------------------


def test_an_error_inside_a_method_closes_the_others() -> None:
    closed: list[str] = []

    async def patient(q: Query) -> Any:
        try:
            await q.grad()
            await q.grad()
        finally:
            closed.append("patient")

    async def broken(q: Query) -> Any:
        await q.score()
        raise LookupError("a bug of the method")

    with pytest.raises(LookupError, match="a bug of the method"):
        answered(Asking(patient), Asking(broken), Asking(patient))
    assert closed == ["patient", "patient"]


def test_an_error_of_the_model_closes_all_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    async def patient(q: Query) -> Any:
        try:
            await q.grad()
        finally:
            closed.append("closed")

    cramped(monkeypatch, 0, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        answered(Asking(patient), Asking(patient))
    assert closed == ["closed", "closed"]


def test_a_method_gets_answers_in_the_order_of_its_questions() -> None:
    async def talk(q: Query) -> Any:
        return await together(q.score(At(q.x * 0)), q.grad(), q.score(), q.outputs())

    asking = Asking(talk)
    answered(asking)
    zero, grad, score, outputs = asking.got
    with torch.no_grad():
        torch.testing.assert_close(zero[0], NET(X * 0)[:, 1])
        torch.testing.assert_close(score[0], NET(X)[:, 1])
        torch.testing.assert_close(outputs[0], NET(X))
    assert grad.shape == (1, *X.shape)


def test_the_targets_stay_those_of_the_clean_rows() -> None:
    """At other points another class may be the best."""

    async def talk(q: Query) -> Any:
        return await q.score(At(-3 * q.x))

    asking = Asking(talk)
    answered(asking, target=Top(1))
    with torch.no_grad():
        top = NET(X).argmax(1)
        assert not torch.equal(NET(-3 * X).argmax(1), top)
        torch.testing.assert_close(asking.got[0], NET(-3 * X).gather(1, top[:, None])[:, 0])


class Wrong:
    """A method that returns what it should not."""

    about = Gradient.about

    def __init__(self, value: Any) -> None:
        self.value = value

    async def explain(self, q: Query) -> Any:
        await q.score()
        return self.value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "returned NoneType"),
        (torch.zeros(1, 3), "returned Tensor"),
        (attribution(torch.zeros(2, 3, 4)), r"returned \(2, 3, 4\)"),
        (attribution(torch.zeros(3, 1, 4)), r"returned \(3, 1, 4\)"),
    ],
)
def test_an_answer_of_the_wrong_shape_is_refused_with_the_right_one(value: Any, says: str) -> None:
    with pytest.raises(PellucidError, match=says + r"[\s\S]*\(1, 3\)"):
        answered(Wrong(value))


def test_awaiting_something_else_is_refused() -> None:
    class Other:
        def __await__(self) -> Any:
            yield None

    async def talk(q: Query) -> Any:
        await Other()

    with pytest.raises(PellucidError, match=r"Asking\.explain awaited NoneType, which is no question"):
        answered(Asking(talk))


def test_scores_at_the_clean_rows_come_with_every_result() -> None:
    results = answered(InputXGradient(), Gradient(), target=(Class(1), Top(2))).results
    with torch.no_grad():
        raw = NET(X)
    best = raw.sort(1, descending=True).values
    for result in results:
        torch.testing.assert_close(result.scores, torch.stack([raw[:, 1], best[:, 0], best[:, 1]]))


# -- what a plan says ----------------------------------------------------------------------------------------------


class Rule:
    name = "gamma"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (PLAIN, "forward"),
        (Where(rule=Rule()), "forward; rule gamma"),
        (Where(rule=3), "forward; rule int"),
        (Where(edit=Edit(Site("a"), "e", lambda x, *_: x)), "forward; edit a"),
        (Where(into=Site("b")), "forward; into b"),
        (Where(signal=Edit(Site("c"), "s", lambda x, *_: x)), "forward; signal changed at c"),
        (Where(against=At(X)), "forward; beside reference rows"),
        (Where(variant=Variant("other", dict)), "forward; variant other"),
    ],
)
def test_a_line_of_a_plan_says_how_rows_are_run(where: Where, says: str) -> None:
    asks: list[Ask[Any]] = [Ask(What.SCORE, At(X), Mean(), where), Ask(What.OUTPUTS, At(X), Mean(), where)]
    groups: list[Group] = []
    for ask in asks:
        merge(groups, ask, None, where, ())
    [share] = shares(groups)
    assert describe(share, 7) == f"{says}: 3 rows (At × 1), 2 questions, 0 targets, 7 at once"


def test_lines_of_a_plan_name_gradients_sites_and_what_runs_inside() -> None:
    lines = answered(GradCAM(at="relu2"), Smooth(method=Gradient(), samples=4)).lines()
    assert lines[0].startswith("forward + backward; sites relu2: 3 rows (At × 1), 3 questions, 1 targets")
    inside = [line for line in lines if line.startswith("inside Gradient, ")]
    assert len(lines) == 2 and len(inside) == 1
    assert "of 12 rows: forward + backward: 12 rows (At × 1), 1 questions, 1 targets" in inside[0]


def test_questions_against_the_same_references_share_a_chunk() -> None:
    """DeepLIFT's multipliers of two sets of points, together as alone; and one after another, row by row."""
    where = Where(rule=Multipliers("rescale", "gradient"), against=At(X * 0.5))

    async def both(q: Query) -> Any:
        return await together(q.grad(where=where), q.grad(At(q.x * 0.25), where=where))

    lone = [asking(lambda q: q.grad(where=where)), asking(lambda q: q.grad(At(q.x * 0.25), where=where))]
    for talk in lone:
        answered(talk)
    for rows in ("auto", 6, 2):
        shared = Asking(both)
        got = answered(shared, rows=rows)
        for one, talk in zip(shared.got, lone, strict=True):
            torch.testing.assert_close(one, talk.got)
        many = [share.rows for share, _ in got.shared if share.lane.where == where]
        assert many == [6]
