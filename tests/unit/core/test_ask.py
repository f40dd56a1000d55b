"""Questions: what a model must answer for each, and what methods give back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid.core.ask import PLAIN, Ask, Can, Edit, RowCheck, Variant, What, Where, attribution, together
from pellucid.core.errors import ParameterError
from pellucid.core.fold import Only
from pellucid.core.points import At
from pellucid.core.site import Attention, Site

HERE, X = Site("layer"), At(torch.zeros(1, 2))


def same(x: Any, *_: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("what", "where", "site", "needs"),
    [
        (What.SCORE, PLAIN, None, set()),
        (What.OUTPUTS, PLAIN, None, set()),
        (What.EXPLAIN, PLAIN, None, set()),
        (What.GRADIENT, PLAIN, None, {Can.GRADIENT}),
        (What.SITE, PLAIN, HERE, {Can.GRADIENT, Can.SITES}),
        (What.SCORE, PLAIN, HERE, {Can.SITES}),
        (What.GRADIENT, Where(rule="lrp"), None, {Can.GRADIENT, Can.RULES}),
        (What.SCORE, Where(edit=Edit(HERE, "zero", same)), None, {Can.EDIT}),
        (What.SCORE, Where(into=HERE), None, {Can.EDIT}),
        (What.GRADIENT, Where(signal=Edit(HERE, "zero", same)), None, {Can.GRADIENT, Can.EDIT}),
        (What.SCORE, Where(variant=Variant("other", dict)), None, {Can.VARIANT}),
        (What.SCORE, Where(against=X), None, set()),
    ],
)
def test_what_a_question_needs(what: What, where: Where, site: Site | None, needs: set[Can]) -> None:
    assert Ask(what, X, Only(), where, site).needs == needs | {Can.SCORE}


def test_edits_and_variants_are_equal_by_their_names() -> None:
    assert Edit(HERE, "zero", same) == Edit(HERE, "zero", lambda x, *_: x * 0) != Edit(HERE, "one", same)
    assert Edit(HERE, "zero", same) != Edit(Site("other"), "zero", same)
    assert Edit(HERE, "zero", same, Site("source")) != Edit(HERE, "zero", same)
    assert Variant("a", dict) == Variant("a", same) != Variant("b", dict)  # pyright: ignore[reportArgumentType]
    assert Variant("a", dict) != Variant("a", dict, shift=1.0)
    assert hash(Edit(HERE, "zero", same)) == hash(Edit(HERE, "zero", lambda x, *_: x))
    assert PLAIN.plain and Where().plain and not Where(into=HERE).plain


def test_one_question_alone_and_several_together() -> None:
    one: Ask[Any]
    one, other = Ask(What.SCORE, X, Only()), Ask(What.GRADIENT, X, Only())
    lone = one.__await__()
    assert next(lone) == (one,)
    with pytest.raises(StopIteration) as said:
        lone.send(("answer",))
    assert said.value.value == "answer"
    both = together(one, other).__await__()
    assert tuple(next(both)) == (one, other)


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((2, 3), ("batch",)),
        ((2, 3, 4), ("batch", "feature")),
        ((2, 3, 4, 5), ("batch", "height", "width")),
        ((2, 3, 4, 5, 6), ("batch", "channel", "height", "width")),
        ((2, 3, 4, 5, 6, 7), ("batch", "axis_1", "axis_2", "axis_3", "axis_4")),
    ],
)
def test_axes_have_their_usual_names(shape: tuple[int, ...], dims: tuple[str, ...]) -> None:
    assert attribution(torch.zeros(shape)).dims == dims
    own = tuple(f"mine {i}" for i in range(len(shape) - 2))
    assert attribution(torch.zeros(shape), dims=own).dims == ("batch", *own)
    for wrong in ((*own, "more"), own[:-1] if own else ("one",)):
        with pytest.raises(ParameterError, match="names behind the batch"):
            attribution(torch.zeros(shape), dims=wrong)


def test_where_maps_live() -> None:
    values = torch.zeros(1, 2, 3)
    assert attribution(values).at is None
    assert attribution(values, at="layer").at == HERE == attribution(values, at=HERE).at
    assert attribution(values, at=("layer", HERE)).at == (HERE, HERE)


def test_an_attention_sees_all_tokens_unless_told_otherwise() -> None:
    plain = Attention(HERE, 2, 5, 5)
    assert (plain.windows, plain.prefix, plain.grid) == (1, 0, None)


def test_a_check_of_rows_is_told_target_by_target() -> None:
    check = RowCheck(name="gap", value=torch.tensor([[1.0, 2.0], [3.0, 4.0]]), passed=torch.tensor([[True, False]] * 2))
    got = check.of(1)
    assert (got.value, got.passed, got.limit, got.says, got.judged, got.share) == (
        (3.0, 4.0),
        (True, False),
        None,
        "",
        True,
        False,
    )
    assert attribution(torch.zeros(2, 2, 3), checks=[None, check, None]).checks == (check,)
