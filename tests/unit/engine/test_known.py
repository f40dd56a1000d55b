"""In a session no model is asked twice of one row, and no answer changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid
from pellucid import LIME, Banzhaf, ExactShapley, FeatureAblation, KernelSHAP, OwenShapley, PermutationSHAP
from pellucid.core.ask import Rows
from pellucid.core.errors import ParameterError
from pellucid.core.points import generator
from pellucid.engine.known import prints
from pellucid.metrics import NonSensitivity
from pellucid.regions import Cells
from pellucid.testing import tiny

X = torch.randn(2, 6, generator=generator(8, "pool"), dtype=torch.float64)
GROUND = torch.randn(3, 6, generator=generator(9, "pool"), dtype=torch.float64)


class Counted(nn.Module):
    """A module that counts the rows it is given, its twin's included."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.ran = inner, Ran()

    def forward(self, x: Tensor) -> Tensor:
        self.ran.rows.extend(x.unbind(0))
        return self.inner(x)


class Ran:
    def __init__(self) -> None:
        self.rows: list[Tensor] = []

    def __deepcopy__(self, memo: Any) -> Ran:
        return self

    def take(self) -> int:
        count = len(self.rows)
        self.rows.clear()
        return count


def game(rows: Tensor) -> Tensor:
    return torch.stack([rows.prod(1), torch.sin(rows).sum(1)], 1)


def counted() -> tuple[Any, list[int]]:
    asked: list[int] = []

    def fn(rows: Tensor) -> Tensor:
        asked.append(len(rows))
        return game(rows)

    return pellucid.wrap(fn), asked


def explained(model: Any, method: Any, **how: Any) -> Any:
    (got,) = pellucid.explain(model, X, method, target=how.get("target", 0), output="logit")
    return got


@pytest.mark.parametrize("fill", ["zero", GROUND])
def test_methods_one_after_another_ask_of_every_coalition_once(fill: Any) -> None:
    model, asked = counted()
    methods = [ExactShapley(fill=fill), LIME(samples=40, fill=fill), Banzhaf(samples=30, fill=fill, seed=5)]
    methods += [PermutationSHAP(samples=6, fill=fill), OwenShapley(hierarchy=TREE, fill=fill), KernelSHAP(fill=fill)]
    alone = [explained(pellucid.wrap(game), m) for m in methods]
    with pellucid.session() as known:
        got = []
        for m in methods:
            asked.clear()
            got.append(explained(model, m))
            passes = got[-1].record.passes
            assert sum(asked) == passes.forward + passes.verification
            assert (passes.forward == 0) == (m is not methods[0])
        many = 1 if isinstance(fill, str) else len(GROUND)
        # all shown is the row itself whatever stands behind, and nothing shown the background whosever it is
        assert got[0].record.passes.forward == len(X) * 62 * many + len(X) + many
        assert known.rows == got[0].record.passes.forward
    for ours, theirs in zip(got, alone, strict=True):
        assert torch.equal(ours.values, theirs.values)
        assert theirs.record.passes.known == 0


TREE = [[0, 1], [2, [3, [4, 5]]]]


def test_only_the_coalitions_not_yet_known_are_asked() -> None:
    model, asked = counted()
    first, second = LIME(samples=20), KernelSHAP(samples=20, seed=4)
    with pellucid.session():
        explained(model, first)
        asked.clear()
        got = explained(model, second)
    passes = got.record.passes
    whole = explained(pellucid.wrap(game), second).record.passes
    assert passes.known + passes.forward == whole.forward
    assert 0 < passes.forward == sum(asked) < whole.forward


def test_other_targets_and_outputs_come_from_the_same_calls() -> None:
    model, asked = counted()
    with pellucid.session():
        explained(model, ExactShapley())
        asked.clear()
        got = pellucid.explain(model, X, [ExactShapley(), LIME(samples=30)], top_k=2)
    assert not asked
    alone = pellucid.explain(pellucid.wrap(game), X, [ExactShapley(), LIME(samples=30)], top_k=2)
    assert all(torch.equal(a.values, b.values) for a, b in zip(got, alone, strict=True))


def test_a_row_is_known_whatever_it_is_asked_beside() -> None:
    model, asked = counted()
    with pellucid.session():
        explained(model, ExactShapley())
        asked.clear()
        pellucid.explain(model, X[1:], [ExactShapley()], target=1, output="logit")
        assert not asked
        pellucid.explain(model, X[:1] + 1e-12, [ExactShapley()], target=1, output="logit")
        assert sum(asked) >= 32


def test_other_fills_are_other_rows() -> None:
    model, _ = counted()
    with pellucid.session():
        explained(model, ExactShapley(fill="zero"))
        got = explained(model, ExactShapley(fill=GROUND[0]))
    assert (
        got.record.passes.known == 2 * len(X) + 1
    )  # the clean rows, with all shown; nothing shown is one row for both


def test_nothing_is_kept_outside_and_after() -> None:
    model, asked = counted()
    explained(model, ExactShapley())
    known = pellucid.session()
    with known:
        assert explained(model, ExactShapley()).record.passes.known == len(X) + 1  # all shown, and nothing shown
    assert known.rows == 0
    asked.clear()
    assert explained(model, ExactShapley()).record.passes.known == 0
    assert sum(asked) > 0


def test_open_and_close_and_inner_sessions() -> None:
    model, asked = counted()
    outer = pellucid.session().open()
    try:
        explained(model, ExactShapley())
        with pellucid.session():
            assert explained(model, ExactShapley()).record.passes.forward > 0
        asked.clear()
        explained(model, ExactShapley())
        assert not asked
        there: list[int] = []
        other = threading.Thread(target=lambda: there.append(explained(model, ExactShapley()).record.passes.forward))
        other.start()
        other.join()
        assert there[0] > 0  # another thread has sessions of its own
    finally:
        outer.close()
    assert explained(model, ExactShapley()).record.passes.known == 0


def test_memory_is_bounded_and_nothing_is_wrong_when_it_is_full() -> None:
    wide = pellucid.wrap(lambda rows: game(rows)[:, :1] * torch.arange(20_000.0))
    with pellucid.session(megabytes=1) as known:
        first, again = (explained(wide, ExactShapley(), target=7) for _ in range(2))
        assert 0 < known.rows * 20_000 * 8 <= 2**20
    assert torch.equal(first.values, again.values)
    for wrong in (0, 0.5, float("inf"), float("nan"), True, "much"):
        with pytest.raises(ParameterError, match="megabytes"):
            pellucid.session(wrong)  # pyright: ignore[reportArgumentType]


# -- torch modules -------------------------------------------------------------------------------------------------

PICTURE = tiny.make("convnet")


def module() -> tuple[Any, Ran]:
    net = Counted(PICTURE.module).eval()
    return net, net.ran


def test_changed_weights_hooks_and_attributes_are_asked_again() -> None:
    net, ran = module()
    method = ExactShapley(regions=Cells(2))

    def rows() -> int:
        ran.take()
        pellucid.explain(net, PICTURE.x, method, target=0)
        return ran.take()

    with pellucid.session():
        assert rows() > 16
        assert rows() == 0
        with torch.no_grad():
            next(net.parameters()).mul_(1.5)
        assert rows() > 16
        assert rows() == 0
        handle = net.inner.register_forward_hook(lambda *_: None)
        assert rows() > 16
        handle.remove()


def test_the_model_is_not_kept_alive() -> None:
    with pellucid.session() as known:
        model, _ = counted()
        explained(model, ExactShapley())
        assert known.rows > 0
        del model
        import gc

        gc.collect()
        assert known.rows == 0


def test_what_is_no_plain_score_is_asked_as_ever() -> None:
    methods: Sequence[Any] = ["gradient", "grad_cam", "ablation_cam", "lrp"]
    alone = pellucid.explain(PICTURE.module, PICTURE.x, methods, target=0)
    with pellucid.session():
        first = pellucid.explain(PICTURE.module, PICTURE.x, methods, target=0)
        again = pellucid.explain(PICTURE.module, PICTURE.x, methods, target=0)
    for a, b, c in zip(alone, first, again, strict=True):
        assert torch.equal(a.values, b.values)
        assert torch.equal(b.values, c.values)
    assert again[0].record.passes.backward == alone[0].record.passes.backward


def test_models_that_draw_are_asked_every_time() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] + torch.rand(len(x), 3)

    with pellucid.session() as known:
        for _ in range(2):
            got = pellucid.explain(Drawing(), PICTURE.x, ExactShapley(regions=Cells(2)), target=0)[0]
            assert got.record.passes.known == 0
        assert known.rows == 0


def test_a_metric_asks_only_of_what_the_explanation_did_not_and_says_in_sample() -> None:
    net, ran = module()
    model, metric = pellucid.wrap(net), NonSensitivity(regions=Cells(4), fill="gray")
    with pellucid.session():
        same = pellucid.explain(model, PICTURE.x, FeatureAblation(regions=Cells(4), fill="gray"), target=0)
        ran.take()
        judged = pellucid.measure(model, same, metric, inputs=PICTURE.x)[0]
        assert ran.take() == 0
        assert judged.in_sample
        assert judged.passes.known > len(PICTURE.x)
        assert judged.passes.forward == 0
        other = pellucid.explain(model, PICTURE.x, FeatureAblation(regions=Cells(4), fill="black"), target=0)
    alone = pellucid.measure(model, same, metric, inputs=PICTURE.x)[0]
    assert judged.values == alone.values
    with pellucid.session():
        pellucid.explain(model, PICTURE.x, FeatureAblation(regions=Cells(4), fill="black"), target=0)
        apart = pellucid.measure(model, other, metric, inputs=PICTURE.x)[0]
    assert not apart.in_sample
    assert apart.passes.known == len(PICTURE.x)  # the pictures themselves


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_rows_that_differ_anywhere_have_other_prints(dtype: torch.dtype) -> None:
    rows = (torch.arange(64)[:, None] >> torch.arange(6) & 1).to(dtype)  # few bits set: the hard case
    keys = prints(_rows(rows), False)
    assert len(set(keys)) == 64
    assert keys == prints(_rows(rows.clone()), False)
    assert len(set(prints(_rows(rows.repeat(2, 1)), False))) == 64
    apart = prints(Rows(64, lambda: rows * 0, lambda: rows, lambda: rows, rows, lambda *_: rows, 0), True)
    assert len(set(apart)) == 64


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3000), st.floats(-3, 3, width=32))
def test_one_number_tells_rows_apart(seed: int, size: int, moved: float) -> None:
    row = torch.randn(1, size, generator=generator(seed, "prints"))
    other = row.clone()
    place = seed % size
    other[0, place] = moved
    same = torch.equal(row, other)
    assert (prints(_rows(row), False) == prints(_rows(other), False)) == same


def _rows(x: Tensor) -> Rows:
    return Rows(len(x), lambda: x, lambda: x, lambda: x, torch.arange(len(x)), lambda *_: x, 0)
