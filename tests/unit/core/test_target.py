"""Targets: what users write, what it stands for, and the number it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.core.errors import ParameterError, TargetError
from pellucid.core.explanation import Chosen
from pellucid.core.target import (
    OUTPUTS,
    Class,
    Contrast,
    Each,
    Labels,
    Output,
    Pick,
    Score,
    Target,
    Top,
    Unit,
    as_target,
    as_targets,
    converted,
    part,
    ranked,
    resolve,
    width,
)

RAW = torch.tensor([[2.0, -1.0, 0.5, 2.0], [0.0, 3.0, -2.0, 1.0]], dtype=torch.float64)
ROWS = torch.arange(2)
NAMES = Labels(("cat", "dog", "Dog", "7"))


def picks(target: Target, output: Output = "logit", emits: str = "logits", raw: Tensor = RAW) -> list[Pick]:
    return resolve(target, raw, output, emits, NAMES)


def values(target: Target, output: Output = "logit", emits: str = "logits", raw: Tensor = RAW) -> list[list[float]]:
    return [pick.value(raw, torch.arange(len(raw)), emits).tolist() for pick in picks(target, output, emits, raw)]


# -- what users write --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (None, Top(1)),
        (3, Class(3)),
        ("cat", Class("cat")),
        (Top(2), Top(2)),
        ([1, "cat"], (Class(1), Class("cat"))),
        ([1, [2, Top(3)]], (Class(1), Class(2), Top(3))),
    ],
)
def test_what_is_written_stands_for(asked: Any, target: Any) -> None:
    assert as_target(asked) == target


@pytest.mark.parametrize(
    "asked", [1.5, True, -1, {}, np.float64(1), torch.tensor(1.0), torch.tensor(True), [None, 2.0]]
)
def test_what_is_no_target_is_refused(asked: Any) -> None:
    with pytest.raises(TargetError):
        as_targets(asked)


@pytest.mark.parametrize("number", [np.int64(2), np.uint8(2), torch.tensor(2), torch.tensor([1, 9, 2]).argmax() + 1])
def test_class_numbers_of_numpy_and_torch_are_numbers(number: Any) -> None:
    assert as_target(number) == Class(2)
    assert Contrast(number, 0) == Contrast(2, 0)
    assert type(Class(number).which) is int


@pytest.mark.parametrize("labels", [np.array([1, 2]), torch.tensor([1, 2])])
def test_labels_of_a_batch_are_taken_as_they_come(labels: Any) -> None:
    assert Each(labels) == Each([1, 2])
    with pytest.raises(TargetError, match=r"Each\(labels\)"):
        as_target(labels)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(TargetError, match="empty list"):
        as_targets([])


@pytest.mark.parametrize("k", [0, -1, 1.0, True, "2"])
def test_top_counts_from_one(k: Any) -> None:
    with pytest.raises(TargetError):
        Top(k)


def test_each_refuses_what_is_no_class() -> None:
    with pytest.raises(TargetError, match=r"int\(\.\.\.\)"):
        Each([1, np.float64(2)])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("side", [[1, 2], Top(2), Unit("a", 1), Score(lambda raw: raw[:, 0])])
def test_a_contrast_has_one_class_on_each_side(side: Any) -> None:
    with pytest.raises(TargetError, match="two single classes"):
        Contrast(side, 1)


def test_only_top_gives_several() -> None:
    assert [width(target) for target in (Top(3), Class(1), Each([1]), Contrast(1, 2))] == [3, 1, 1, 1]


# -- what it stands for ------------------------------------------------------------------------------------------


def test_top_is_found_row_by_row_the_smaller_number_first_among_equals() -> None:
    found = picks(Top(3))
    assert [pick.index.tolist() for pick in found] == [[0, 1], [3, 3], [2, 0]]  # pyright: ignore
    assert [pick.rank for pick in found] == [0, 1, 2]


def test_ranked_agrees_with_a_stable_sort_of_numpy() -> None:
    raw = torch.randint(0, 3, (20, 9), generator=torch.Generator().manual_seed(0)).double()
    wanted = np.argsort(-raw.numpy(), axis=1, kind="stable")[:, :4]
    assert np.array_equal(ranked(raw, 4).numpy(), wanted)


def test_each_has_a_class_for_every_row() -> None:
    assert picks(Each([2, "cat"]))[0].index.tolist() == [2, 0]  # pyright: ignore


@pytest.mark.parametrize("which", [[1], [1, 2, 3]])
def test_each_of_another_length_is_refused(which: list[int | str]) -> None:
    with pytest.raises(TargetError, match=f"Each of {len(which)} classes for 2 images"):
        picks(Each(which))


@pytest.mark.parametrize("target", [Top(5), Class(4), Each([0, 9]), Contrast(0, 4)])
def test_classes_that_do_not_exist_are_refused(target: Target) -> None:
    with pytest.raises(TargetError):
        picks(target)


def test_a_part_of_a_target_is_the_target_of_those_rows() -> None:
    assert part(Each([1, 2, 3]), 1, 3) == Each([2, 3])
    assert part(Contrast(Each([1, 2, 3]), 0), 0, 2) == Contrast(Each([1, 2]), 0)
    assert part(Top(2), 0, 1) == Top(2)


# -- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "index"), [("cat", 0), ("CAT", 0), ("dog", 1), ("Dog", 2), ("7", 3), ("2", 2), (3, 3)]
)
def test_a_class_is_found_by_name_or_number(which: int | str, index: int) -> None:
    assert NAMES.find(which, 4) == index


def test_a_name_that_belongs_to_several_classes_is_refused_with_their_numbers() -> None:
    with pytest.raises(TargetError, match=r"belongs to classes \[1, 2\]"):
        NAMES.find("DOG", 4)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(TargetError, match="perhaps 'tabby'"):
        Labels(("tabby", "espresso")).find("taby", 2)


@pytest.mark.parametrize("which", ["9", "²", "٣", "", "nothing like it"])
def test_a_word_that_is_neither_name_nor_class_number_is_refused(which: str) -> None:
    with pytest.raises(TargetError):
        NAMES.find(which, 4)


def test_a_name_beyond_the_outputs_is_refused() -> None:
    with pytest.raises(TargetError, match="below 3"):
        NAMES.find("7", 3)


def test_without_names_the_remedy_is_said() -> None:
    with pytest.raises(TargetError, match="labels="):
        Labels().find("cat", 4)


def test_classes_without_a_name_are_called_by_number() -> None:
    assert (NAMES.name(0), NAMES.name(9), Labels().name(2)) == ("cat", "class 9", "class 2")


# -- the number --------------------------------------------------------------------------------------------------


def softmax(raw: Tensor) -> np.ndarray[Any, Any]:
    e = np.exp(raw.numpy() - raw.numpy().max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


P = softmax(RAW)
SIGMOID = 1 / (1 + np.exp(-RAW.numpy()))
PROBABLE = torch.from_numpy(P)


@pytest.mark.parametrize(
    ("raw", "emits", "output", "wanted"),
    [
        (RAW, "logits", "logit", RAW.numpy()),
        (RAW, "logits", "probability", P),
        (RAW, "logits", "log_probability", np.log(P)),
        (RAW, "sigmoid_logits", "probability", SIGMOID),
        (RAW, "sigmoid_logits", "log_probability", np.log(SIGMOID)),
        (PROBABLE, "probabilities", "logit", np.log(P)),
        (PROBABLE, "probabilities", "probability", P),
        (PROBABLE, "probabilities", "log_probability", np.log(P)),
        (RAW, "values", "logit", RAW.numpy()),
    ],
)
def test_outputs_are_converted(raw: Tensor, emits: str, output: Output, wanted: Any) -> None:
    np.testing.assert_allclose(converted(raw, output, emits).numpy(), wanted, rtol=1e-12)


def test_the_logarithm_of_an_impossible_class_is_finite() -> None:
    assert bool(torch.isfinite(converted(torch.tensor([[1.0, 0.0]]), "logit", "probabilities")).all())


def test_an_unknown_output_is_answered_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match="'logit'"):
        converted(RAW, "logits", "logits")  # pyright: ignore[reportArgumentType]


def test_the_margin_is_the_distance_to_the_best_other_class() -> None:
    assert values(Class(0), "margin") == [[0.0, -3.0]]
    assert values(Top(1), "margin") == [[0.0, 2.0]]


def test_the_margin_of_two_classes_is_their_difference() -> None:
    two = RAW[:, :2]
    assert values(Class(0), "margin", "logits", two) == [(two[:, 0] - two[:, 1]).tolist()]
    assert values(Class(1), "margin", "logits", two) == [(two[:, 1] - two[:, 0]).tolist()]


@pytest.mark.parametrize("index", [(), [], -1, (0, -1), 1.5, True, (0, True), (0, "a")])
def test_units_are_numbered_from_zero(index: Any) -> None:
    with pytest.raises(TargetError, match="whole numbers from 0"):
        Unit("layer", index)


def test_the_margin_of_a_single_output_is_the_output() -> None:
    assert values(Class(0), "margin", "values", RAW[:, :1]) == [RAW[:, 0].tolist()]


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_contrast_is_the_difference_of_two_scores(output: Output) -> None:
    a, b = (converted(RAW, output, "logits")[:, i] for i in (2, 0))
    assert values(Contrast(2, "cat"), output)[0] == pytest.approx((a - b).tolist())


def test_a_score_is_any_function_of_the_raw_outputs() -> None:
    assert values(Score(lambda raw: raw.square().sum(1))) == [RAW.square().sum(1).tolist()]


@pytest.mark.parametrize("fn", [lambda raw: raw, lambda raw: raw.sum(), lambda raw: 1.0])
def test_a_score_that_is_not_one_number_per_row_is_refused(fn: Any) -> None:
    with pytest.raises(TargetError, match="one number per row"):
        values(Score(fn))


INNER = torch.arange(2.0 * 3 * 2 * 2).view(2, 3, 2, 2)


@pytest.mark.parametrize(
    ("index", "wanted"), [(1, [5.5, 17.5]), ((1,), [5.5, 17.5]), ((2, 1), [10.5, 22.5]), ((0, 1, 0), [2, 14])]
)
def test_a_unit_is_a_channels_mean_or_one_number(index: Any, wanted: list[float]) -> None:
    (pick,) = picks(Unit("layer", index))
    assert pick.value(RAW, ROWS, "logits", INNER).tolist() == wanted


@pytest.mark.parametrize("output", ["probability", "log_probability"])
def test_probabilities_of_a_model_that_has_none_are_refused(output: Output) -> None:
    with pytest.raises(TargetError, match="emits="):
        picks(Class(0), output, "values")


def test_rows_are_looked_up_by_their_clean_row() -> None:
    (pick,) = picks(Each([3, 1]))
    raw = torch.arange(16.0).view(4, 4)
    assert pick.value(raw, torch.tensor([1, 0, 0, 1]), "logits").tolist() == [1, 7, 11, 13]


# -- what is told of it ------------------------------------------------------------------------------------------


def told(target: Target, output: Output = "logit") -> Chosen:
    (pick,) = picks(target, output)
    return pick.chosen(torch.tensor([0.5, 1.5]), NAMES)


def test_a_class_is_told_by_number_and_name() -> None:
    got = told(Each([0, 2]), "probability")
    assert (got.index, got.name, got.score, got.output) == ((0, 2), ("cat", "Dog"), (0.5, 1.5), "probability")


def test_a_contrast_is_no_class() -> None:
    got = told(Contrast(0, 1))
    assert (got.index, got.name) == ((None, None), ("cat − dog",) * 2)


def test_units_and_functions_are_told_by_what_they_are() -> None:
    assert told(Unit("layer[1]", (5, 0))).name == ("unit 5,0 of layer[1]",) * 2
    assert told(Unit("layer", 5)).output == "activation"
    assert told(Score(lambda raw: raw[:, 0], "energy")).name == ("energy", "energy")
