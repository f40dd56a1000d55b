"""Wrong targets, rows and models are refused before any work, with a text that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pellucid import api
from pellucid.core.errors import InputError, NonFinite, OutOfMemory, ParameterError, SiteError, TargetError
from pellucid.core.target import Class, Contrast, Each, Score, Top, Unit
from pellucid.methods.gradient import Gradient
from pellucid.methods.occlusion import Occlusion
from pellucid.testing import Watch, tiny, watched

LABELS = ("tabby", "tiger cat", "espresso", "red wine")


def one() -> tuple[Any, torch.Tensor, Watch]:
    """A handle that counts rows, and three rows."""
    watch, model = Watch(), tiny.make("convnet")
    return api.wrap(watched(model.module, watch), labels=LABELS), model.x, watch


BAD = st.one_of(
    st.integers(max_value=-1),
    st.integers(min_value=4, max_value=10**9),
    st.booleans(),
    st.floats(),
    st.complex_numbers(),
    st.binary(),
    st.builds(np.float32, st.floats(width=32)),
    st.text().filter(lambda text: text not in LABELS and not (text.isascii() and text.isdigit() and int(text) < 4)),
    st.just([]),
)
"""What no class can be written as."""


@settings(max_examples=60, deadline=None)
@given(bad=BAD, way=st.sampled_from(["plain", "listed", "class", "each", "this", "that", "versus", "nested"]))
def test_no_such_class(bad: Any, way: str) -> None:
    handle, x, watch = one()
    wanted: dict[str, Callable[[], Any]] = {
        "plain": lambda: bad,
        "listed": lambda: [0, bad],
        "class": lambda: Class(bad),
        "each": lambda: Each([0, bad, 1]),
        "this": lambda: Contrast(bad, 1),
        "that": lambda: Contrast(1, bad),
        "versus": lambda: 0,
        "nested": lambda: [[1], [Class(bad)]],
    }
    with pytest.raises(TargetError) as caught:
        api.explain(handle, x, "gradient", target=wanted[way](), versus=bad if way == "versus" else None)
    assert caught.value.got and (caught.value.wanted or caught.value.do)
    assert watch.rows <= 1, "no more than the look at one row that tells how many outputs there are"


@settings(max_examples=20, deadline=None)
@given(k=st.integers(max_value=0) | st.integers(min_value=5) | st.booleans() | st.floats())
@example(k=2**80)  # nothing may be laid out for each of them before they are counted
@pytest.mark.parametrize(("verb", "rows"), [(api.explain, 1), (api.plan, 3)], ids=["explain", "plan"])
def test_no_so_many_best(k: Any, verb: Any, rows: int) -> None:
    """A look at one row, which a plan also times, twice."""
    handle, x, watch = one()
    for asked in ({"top_k": k}, {"target": lambda: Top(k)}):
        with pytest.raises(TargetError):
            verb(handle, x, "gradient", **{n: v() if callable(v) else v for n, v in asked.items()})
    assert watch.rows <= rows


@settings(max_examples=20, deadline=None)
@given(which=st.lists(st.integers(0, 3), max_size=8).filter(lambda listed: len(listed) != 3))
def test_one_class_per_image(which: list[int]) -> None:
    handle, x, watch = one()
    with pytest.raises(TargetError, match=f"{len(which)} classes for 3 images"):
        api.explain(handle, x, "gradient", target=Each(which))
    assert watch.rows <= 1


@settings(max_examples=20, deadline=None)
@given(which=st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_good_targets_are_taken(which: list[int]) -> None:
    """Each([a, b, c]) is class a of the first row alone, and so on; names are numbers."""
    handle, x, _ = one()
    each = api.explain(handle, x, "gradient", target=Each(which))[0]
    named = api.explain(handle, x, "gradient", target=Each([LABELS[i] for i in which]))[0]
    assert torch.equal(each.values, named.values) and each.target.index == tuple(which)
    for i, index in enumerate(which):
        alone = api.explain(handle, x[i : i + 1], "gradient", target=LABELS[index])[0]
        torch.testing.assert_close(each.values[i : i + 1], alone.values, rtol=1e-9, atol=1e-12)


def test_a_misspelt_name_gets_the_nearest() -> None:
    handle, x, _ = one()
    with pytest.raises(TargetError, match="espresso"):
        api.explain(handle, x, "gradient", target="expresso")
    with pytest.raises(TargetError, match="tabby"):
        api.explain(handle, x, "gradient", target="Taby cat")
    with pytest.raises(ParameterError, match="grad_cam"):
        api.explain(handle, x, "gradcamm")
    with pytest.raises(SiteError, match="bn2"):
        api.explain(handle, x, Gradient(at="bn_2"))


def test_names_need_names() -> None:
    model = tiny.make("convnet")
    with pytest.raises(TargetError, match="labels"):
        api.explain(model.module, model.x, "gradient", target="tabby")


@pytest.mark.parametrize(
    "rows",
    [
        torch.zeros(0, 3, 8, 8),
        torch.zeros(2, 3, 8, 8, dtype=torch.int64),
        torch.zeros(2, 3, 8, 8, dtype=torch.bool),
        torch.zeros(3),
        torch.full((2, 3, 8, 8), torch.nan),
        torch.full((2, 3, 8, 8), torch.inf),
        torch.zeros(2, 3, 8, 8, dtype=torch.complex64),
        None,
        object(),
        [],
        {},
    ],
    ids=lambda rows: f"{type(rows).__name__}{list(getattr(rows, 'shape', ''))}",
)
def test_rows_that_cannot_be_explained(rows: Any) -> None:
    handle, _, watch = one()
    for verb in (api.explain, api.plan):
        with pytest.raises((InputError, NonFinite)) as caught:
            verb(handle, rows, "gradient")
        assert caught.value.got
    assert watch.rows == 0


def test_one_bad_row_is_named() -> None:
    model = tiny.make("convnet")
    x = model.x.clone()
    x[1, 0, 0, 0] = torch.nan
    with pytest.raises(NonFinite):
        api.explain(model.module, x, "gradient")


class Blows(torch.nn.Module):
    """Gives NaN for rows that are bright."""

    def __init__(self, inner: torch.nn.Module, limit: float) -> None:
        super().__init__()
        self.inner, self.limit = inner, limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.amax((1, 2, 3), keepdim=True)[:, :, 0, 0] > self.limit
        return torch.where(bright, torch.nan, self.inner(x))


def test_a_model_that_gives_nan_is_refused_and_the_row_named() -> None:
    model = tiny.make("convnet")
    x = model.x.clone() * 0.5
    x[2] += 2
    with pytest.raises(NonFinite, match="row 3"):
        api.explain(Blows(model.module, 1.0), x, "gradient")
    with pytest.raises(NonFinite):
        api.explain(Blows(model.module, -1.0), x, "gradient")
    assert len(api.explain(Blows(model.module, 1.0), x[:2], "gradient")) == 1


def test_memory_for_no_row_is_said() -> None:
    handle, x, watch = one()
    api.explain(handle, x, "gradient")
    watch.most_rows = 0
    for method in ("gradient", "occlusion", "grad_cam"):
        with pytest.raises(OutOfMemory, match="one row"):
            api.explain(handle, x, method)


def test_other_errors_of_a_model_come_as_they_are() -> None:
    handle, x, watch = one()
    watch.fail_at, watch.error = 1, KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        api.explain(handle, x, "gradient")


@pytest.mark.parametrize("parameters", [{"window": 9}, {"window": 0}, {"window": 2, "stride": 3}, {"fill": "grau"}])
def test_impossible_windows(parameters: dict[str, Any]) -> None:
    handle, x, _ = one()
    with pytest.raises(InputError):
        api.explain(handle, x, Occlusion(**parameters))


@pytest.mark.parametrize("index", [(-1,), (9,), (0, 0, 9), (0, 0, 0, 0)])
def test_no_such_unit(index: tuple[int, ...]) -> None:
    handle, x, _ = one()
    with pytest.raises(TargetError):
        api.explain(handle, x, "gradient", target=Unit("bn2", index))


def test_a_score_must_be_one_number_per_row() -> None:
    handle, x, _ = one()
    with pytest.raises(TargetError, match="one number per row"):
        api.explain(handle, x, "gradient", target=Score(lambda out: out, "all"))


def test_probabilities_of_a_regression_are_refused() -> None:
    model = tiny.make("regression")
    with pytest.raises(TargetError, match="probabilit"):
        api.explain(model.module, model.x, "gradient", output="probability")
