"""Anchors of models that look at known cells and columns; answers of every kind; real calls, counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.games import CELLS, PLAYERS, WHITE, Shown, looked_up, table
from tests.unit.texts import WORDS, Splitter
from torch import Tensor, nn

from pellucid.api import explain, wrap
from pellucid.core.explanation import Explanation
from pellucid.core.target import Contrast, Score
from pellucid.methods.anchors import Anchors
from pellucid.ops.boards import Board
from pellucid.ops.designs import everything

BLACK: dict[str, Any] = {"regions": CELLS, "fill": "black"}


def one(model: Any, method: Any, x: Any = WHITE, target: Any = 0, **more: Any) -> Explanation:
    return explain(model, x, method, target=target, **more)[0]


def members(e: Explanation, row: int = 0) -> tuple[int, ...]:
    return tuple(e.extras["players"][row].nonzero().flatten().tolist())


def two_classes(yes: Tensor) -> Tensor:
    return torch.stack([yes - 0.5, torch.zeros_like(yes)], 1)


AND = Shown(lambda s: two_classes(s[:, 1] * s[:, 4]))
CORNER = Shown(lambda s: two_classes(s[:, 0]))


def test_an_and_of_two_regions() -> None:
    e = one(AND, Anchors(**BLACK))
    assert members(e) == (1, 4)
    assert torch.equal(e.values[0] == 1, (e.extras["regions"][0] == 1) | (e.extras["regions"][0] == 4))
    assert e.values.unique().tolist() == [0, 1]
    assert e.extras["coverage"].item() == 0.25
    assert e.extras["precision"].item() == 1
    assert all(check.passed == (True,) for check in e.checks)


def test_a_reader_of_one_corner() -> None:
    assert members(one(CORNER, Anchors(**BLACK))) == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_the_exact_precision(seed: int) -> None:
    """A model with a random answer to every coalition but those that show three cells."""
    worths = table(2, seed=seed)
    z = everything(PLAYERS).shown
    worths[z[:, [0, 3, 5]].all(1)] = torch.tensor([9.0, 0.0]).double()
    e = one(looked_up(worths), Anchors(samples=10000, seed=seed, **BLACK))
    held = list(members(e))
    inside = z[:, held].all(1)
    true = float((worths[inside, 0] > worths[inside, 1]).double().mean())
    assert true >= 0.9
    assert e.extras["precision_low"].item() <= true <= e.extras["precision_high"].item()
    assert len(held) <= 3


def test_calls_are_those_of_the_model() -> None:
    seen: list[int] = []

    def count(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(len(args[0]))

    worths = table(2)
    worths[63] = torch.tensor([9.0, 0.0]).double()
    model = looked_up(worths)
    model.register_forward_pre_hook(count)
    e = one(wrap(model, emits="logits"), Anchors(samples=500, regions="cells(2, 3)", fill="black"))
    calls, passes = int(e.extras["calls"].item()), e.record.passes
    assert sum(seen) == passes.forward + passes.verification
    assert passes.forward == calls + 1  # the whole picture comes on top
    assert calls <= 64  # equal coalitions are asked once


def test_rows_and_targets_are_as_alone() -> None:
    x = torch.rand(3, 3, 8, 9, generator=torch.Generator().manual_seed(0)).double()
    model = Shown(lambda s: torch.stack([s[:, 0] * s[:, 1], 0.6 * s[:, 2], s[:, 3] * s[:, 4] * 1.2], 1))
    method = Anchors(samples=1200, **BLACK)
    both = explain(model, x, method, target=[0, 2], output="logit")
    for e, target in zip(both, (0, 2), strict=True):
        for row in range(3):
            alone = one(model, method, x[row : row + 1], target)
            assert torch.equal(e.values[row], alone.values[0])
            for name in ("precision", "coverage", "calls", "draws"):
                assert e.extras[name][row] == alone.extras[name][0], name


def test_why_a_class_is_not_the_answer() -> None:
    """The anchor of a class that the model does not say holds the model back from saying it."""
    assert members(one(AND, Anchors(**BLACK), target=1)) == (1, 4)


def test_what_excludes_nothing_is_an_answer_by_itself() -> None:
    model = Shown(lambda s: torch.stack([s[:, 2] - 0.5, s[:, 3] * s[:, 5] - 0.5], 1))
    several = wrap(model, emits="sigmoid_logits")
    assert members(one(several, Anchors(**BLACK), target=0)) == (2,)
    assert members(one(several, Anchors(**BLACK), target=1)) == (3, 5)
    single = wrap(Shown(lambda s: 0.2 + 0.6 * s[:, 2:3]), emits="probabilities")
    assert members(one(single, Anchors(**BLACK))) == (2,)


def test_a_number_stays_on_its_side_of_the_middle() -> None:
    model = Shown(lambda s: torch.stack([3 + 5 * s[:, 1], -s[:, 4]], 1))
    assert members(one(model, Anchors(**BLACK), target=Score(lambda y: y[:, 0]))) == (1,)
    assert members(one(model, Anchors(**BLACK), target=Score(lambda y: y[:, 1]))) == (4,)
    value = wrap(Shown(lambda s: 3 + 5 * s[:, 1:2]), emits="values")
    assert members(one(value, Anchors(**BLACK))) == (1,)


def test_a_contrast_is_decided_by_the_higher_side() -> None:
    model = Shown(lambda s: torch.stack([s[:, 1], 0.5 + 0 * s[:, 0], 9 + 0 * s[:, 0]], 1))
    assert members(one(model, Anchors(**BLACK), target=Contrast(0, 1))) == (1,)


def test_red_where_the_threshold_is_out_of_reach() -> None:
    e = one(looked_up(table(2)), Anchors(samples=60, most=1, **BLACK))
    assert not all(all(check.passed) for check in e.checks if check.name.startswith("precision"))
    assert e.warnings
    assert e.extras["draws"].item() <= 60


def test_columns_before_a_set_of_backgrounds() -> None:
    """x₀ > 0 and x₁ > 0 decide; half the backgrounds have the first already, so that holds for them anyway."""

    class Rule(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unit = nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return two_classes(((x[:, 0] > 0) & (x[:, 1] > 0)).double() * self.unit)

    x = torch.tensor([[1.0, 1, 7, 7]]).double()
    fill = torch.tensor([[1.0, -1, 0, 0], [-1, -1, 0, 0]]).double()
    e = one(wrap(Rule(), emits="logits"), Anchors(fill=fill), x)
    assert members(e) == (0, 1)
    assert e.dims == ("batch", "feature")
    assert e.extras["coverage"].item() == pytest.approx((0.5 * 1 + 0.5 * 0.5) * 0.5)


def test_every_draw_has_a_background_of_its_own() -> None:
    x, fill = torch.zeros(2, 3), torch.tensor([[1.0, 1, 1], [2, 2, 2]])[:, None]
    board = Board(x=x, labels=torch.arange(3).expand(2, -1), fill=fill, dims=("feature",))
    shown = torch.tensor([[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0]]]).bool()
    points = board.showing(shown, torch.tensor([[0, 1], [1, 0]]))
    assert points.count == 2
    wanted = [[0.0, 1, 1], [2, 2, 2], [2, 2, 0], [1, 0, 1]]
    assert points.rows(0, 2, 0, 2).tolist() == wanted
    assert points.rows(1, 2, 1, 2).tolist() == wanted[3:]


def test_seeds_count() -> None:
    method, other = Anchors(samples=300, **BLACK), Anchors(samples=300, seed=1, **BLACK)
    first = one(looked_up(table(2)), method)
    assert torch.equal(first.values, one(looked_up(table(2)), method).values)
    assert first.extras["precision"] != one(looked_up(table(2)), other).extras["precision"]


class Bright(nn.Module):
    """Whether a picture is brighter than 0.3."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        mean = self.unit * x.mean((1, 2, 3))
        return torch.stack([mean, 0.6 - mean], 1)


def test_the_picture_with_most_players_may_be_done_first() -> None:
    x, i = torch.stack([torch.zeros(3, 6, 6), torch.ones(3, 6, 6)]).double(), torch.arange(6)
    labels = torch.stack([i[:, None] // 2 * 3 + i // 2, i[:, None] // 3 * 2 + i // 3])  # nine players, four players
    e = one(Bright().eval(), Anchors(samples=400, batch=20, regions=labels, fill="black"), x, target=None)
    assert members(e, 0) == () and len(members(e, 1)) == 2


# -- token ids ---------------------------------------------------------------------------------------------------


class Reads(nn.Module):
    """Says yes where all of some tokens are there and none of others; class 1 is yes."""

    def __init__(self, wanted: str, unwanted: str = "") -> None:
        super().__init__()
        self.word = nn.Embedding.from_pretrained(torch.eye(len(WORDS)))
        number: dict[str, int] = {word: i for i, word in enumerate(WORDS)}
        self.wanted, self.unwanted = ([number[one] for one in all_.split()] for all_ in (wanted, unwanted))

    def forward(self, input_ids: Tensor) -> Tensor:
        there = self.word(input_ids).amax(1)
        return two_classes(there[:, self.wanted].prod(1) * (1 - there[:, self.unwanted]).prod(1)).flip(1)


def words_of(e: Explanation, row: int = 0) -> list[str]:
    return [word for word, value in zip(e.inputs.tokens[row], e.values[row].tolist(), strict=False) if value]


@pytest.mark.parametrize("fill", ["auto", "remove", 2])
def test_words_that_decide_in_a_text(fill: Any) -> None:
    model = wrap(Reads("good", "not"), Splitter(), ["no", "yes"])
    for text, answer, wanted in (
        ("the film was good", "yes", ["good"]),
        ("the film was not good and very bad", "no", ["not"]),
        ("the film was very good good", "yes", ["good"]),  # one of the two is enough
    ):
        e = one(model, Anchors(fill=fill), text, None)
        assert e.target.name == (answer,)
        assert words_of(e) == wanted
        assert e.extras["precision"].item() == 1
        assert all(check.passed == (True,) for check in e.checks)


def test_pieces_of_a_word_are_one_player_or_each_its_own() -> None:
    model = wrap(Reads("terrib ##ly bad"), Splitter())
    for regions, count, coverage in (("words", 2, 0.25), ("tokens", 3, 0.125)):
        e = one(model, Anchors(regions=regions), "the film was terrib ##ly bad .", 1)
        assert words_of(e) == ["terrib", "##ly", "bad"]
        assert len(members(e)) == count
        assert e.extras["coverage"].item() == coverage


def test_texts_of_several_lengths_are_as_alone_and_signs_are_never_part() -> None:
    texts = ["a good film", "the film was very very good and not bad .", "good"]
    net = Reads("good")
    together = one(wrap(net, Splitter()), Anchors(seed=3), texts, 1)
    for b, text in enumerate(texts):
        alone = one(wrap(Reads("good"), Splitter()), Anchors(seed=3), text, 1)
        assert words_of(together, b) == words_of(alone) == ["good"]
        assert torch.equal(together.values[b, : alone.values.shape[1]], alone.values[0])
        assert together.extras["calls"][b] == alone.extras["calls"][0]
    assert together.record.passes.forward >= together.extras["calls"].max()
    ids = torch.tensor([[1, 14, 5, 3, 15]])
    assert one(wrap(net, Splitter()), Anchors(), ids, 1).values.tolist() == [[0, 0, 1, 0, 0]]
