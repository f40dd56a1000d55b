"""The scorecard on planted models: the right answer is known, and so is what must not be recommended."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid
from pellucid import api, registry
from pellucid.api.scorecard import scorecard
from pellucid.core.ask import Attribution, Query, attribution
from pellucid.core.errors import FileExists
from pellucid.core.explanation import Kind
from pellucid.core.scorecard import Column, Line, advise
from pellucid.ops.paired import interval, mean_ranks, sign_flip, sign_flips, t_quantile
from pellucid.views.pareto import front, pareto
from pellucid.views.report.scorecard import render

from .metrics.planted import Corners, pictures, random

SIDE, COUNT = 8, 10
X = 0.45 + 0.1 * pictures(COUNT, side=SIDE)
X[:, :, :2, :2] += 0.5
X[:, :, -2:, -2:] += 0.25
"""Grey pictures with a bright corner that speaks for class 0, and a lighter one that speaks against it."""


@dataclass(frozen=True)
class Planted:
    """A map made by hand, of a name and a price."""

    name: str
    values: torch.Tensor
    price: int = 1

    @property
    def about(self) -> Any:
        kind = Kind.CONTRIBUTION
        return replace(registry.make("gradient").about, name=self.name, title=self.name.title(), kind=kind)

    async def explain(self, q: Query) -> Attribution:
        from pellucid.core.fold import Mean
        from pellucid.core.points import Around

        if self.price > 1:
            await q.grad(Around(q.x, torch.zeros_like(q.x[:1]) + 1e-6, self.price, 0), Mean())
        return attribution(self.values[:1].expand(len(q.x), -1, -1, -1).to(q.x)[None])


def right() -> torch.Tensor:
    """Contributions to the score of Corners from the mean colour, plus a little noise."""
    values = 1e-6 * (random(COUNT, 3, SIDE, SIDE, seed=3) - 0.5)
    mean = X.mean((2, 3), keepdim=True)
    values[:, :, :2, :2] += (X - mean)[:, :, :2, :2] / 12
    values[:, :, -2:, -2:] -= (X - mean)[:, :, -2:, -2:] / 12
    return values


def shuffled() -> torch.Tensor:
    order = torch.stack([torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(k)) for k in range(COUNT)])
    flat = right().flatten(2)
    return flat.gather(2, order[:, None].expand_as(flat)).view_as(X)


def card(**rest: Any) -> Any:
    methods = [Planted("dear", right(), 40), Planted("cheap", right()), Planted("broken", shuffled())]
    rest = {"controls": False, "sanity": False, "metrics": ["insertion_deletion"], **rest}
    return scorecard(api.wrap(Corners()), X, methods, target=0, **rest)


RANKING = [
    name
    for name in registry.metrics()
    if (about := registry.find_metric(name).about).better != "neither"
    and about.family in ("faithfulness", "localisation")
    and "method" not in about.wants
    and about.name not in ("average_gain", "average_increase", "average_drop", "monotonicity")
]
"""Without those that say yes or no of a whole map, or of a map that speaks for the class everywhere."""


@pytest.mark.parametrize("name", RANKING)
def test_a_shuffled_map_is_flagged_by_every_metric_that_ranks(name: str) -> None:
    """Paired over planted images, p < 0.01."""
    handle = api.wrap(Corners())
    e = api.explain(handle, X, "gradient", target=0)[0]
    good, bad = (replace(e, values=v, kind=Kind.CONTRIBUTION) for v in (right(), shuffled()))
    masks = torch.zeros(COUNT, SIDE, SIDE, dtype=torch.bool)
    masks[:, :2, :2] = True
    a, b = api.measure(handle, [good, bad], [name], inputs=X, masks=masks)
    sign = 1 if a.better == "higher" else -1
    differences = [sign * (u - v) for u, v in zip(a.values, b.values, strict=True) if not math.isnan(u + v)]
    assert sum(differences) > 0
    assert sign_flip(differences) < 0.01


def test_the_cheaper_of_two_equal_methods_is_recommended_and_the_broken_one_is_not() -> None:
    got = card()
    assert got.advice.method == "cheap"
    assert set(got.advice.tied) == {"Cheap", "Dear"}
    assert got.line("broken").p < 0.05 and got.line("broken").score > got.line("cheap").score
    assert got.line("dear").rows > got.line("cheap").rows
    assert "times less" in " ".join(got.advice.reasons)
    assert got.lines[-1].method == "broken"


def test_maps_that_are_one_but_for_rounding_rank_the_same_and_it_is_said() -> None:
    near = right() * (1 + 1e-6 * random(*X.shape, seed=9))
    methods = [Planted("one", right()), Planted("other", near), Planted("broken", shuffled())]
    got = scorecard(
        api.wrap(Corners()), X, methods, target=0, controls=False, sanity=False, metrics=["fidelity_correlation"]
    )
    assert got.line("one").ranks == got.line("other").ranks
    assert ["*" in line for line in str(got).splitlines()[1:4]] == [True, True, False]
    assert render(got, date="2026-01-01").count('class="best"') == 2
    assert "exactly as well on every photo" in " ".join(got.advice.reasons)


def test_photos_of_any_size_from_a_folder_and_what_gives_one_at_a_time(tmp_path: Any) -> None:
    """Those on which methods are asked again are the first ones, however photos are given."""
    for k, size in enumerate([(20, 30), (40, 24), (25, 25)]):
        pixels = np.random.default_rng(k).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photo {k}.png")
    net = Corners()
    model = api.wrap(net.float(), pellucid.Preprocess(resize=8, crop=8), name="corners")
    metrics = ["deletion", "avg_sensitivity"]
    given = [str(tmp_path), map(str, sorted(tmp_path.iterdir()))]
    a, b = (
        scorecard(model, photos, ["gradient"], metrics=metrics, controls=False, sanity=False, target=0, again=2)
        for photos in given
    )
    assert a.photos == b.photos and len(a.photos) == 3
    assert a.lines[0].cells[0].values == b.lines[0].cells[0].values and len(a.lines[0].cells[1].values) == 2
    assert len(list(pellucid.sanity(model, iter([tmp_path / "photo 0.png"]), ["gradient"], tests=["other class"]))) == 1


def test_the_page_speaks_of_a_line_only_where_there_is_one() -> None:
    assert "cheaper and better than the line" not in render(card(), date="2026-01-01")
    lines = [replace(o, score=1.0 if o.method == "dear" else 2.0) for o in card().lines]
    assert [o.method for o in front(lines)] == ["cheap", "dear"]
    assert "cheaper and better than the line" in render(replace(card(), lines=tuple(lines)), date="2026-01-01")


def test_what_beats_no_control_is_not_recommended() -> None:
    methods = [Planted("broken", shuffled())]
    got = scorecard(
        api.wrap(Corners()), X, methods, target=0, controls=True, sanity=False, metrics=["insertion_deletion"]
    )
    assert any(one.control for one in got.lines)
    assert got.advice.method is None
    assert "Nothing" in str(got.advice)


def test_a_map_that_ignores_the_model_may_not_be_recommended_however_it_ranks() -> None:
    class Weighted(Corners):
        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Parameter(torch.eye(2, dtype=torch.float64) + 0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) @ self.mix

    methods = [Planted("fixed", right()), "gradient"]
    got = scorecard(api.wrap(Weighted()), X, methods, target=0, controls=False, metrics=["insertion_deletion"], again=3)
    fixed = got.line("fixed")
    assert "randomised weights" in fixed.failed and not fixed.candidate
    assert got.advice.method != "fixed"
    assert any("Fixed" in one and "fails" in one for one in got.advice.doubts) or fixed.score > got.lines[0].score


def test_few_photos_are_said_to_be_few() -> None:
    methods = [Planted("cheap", right()), Planted("broken", shuffled())]
    got = scorecard(api.wrap(Corners()), X[:3], methods, target=0, controls=False, sanity=False, metrics=["deletion"])
    assert any("can never give" in one for one in got.advice.doubts)


def test_table_document_and_file(tmp_path: Any) -> None:
    got = card(metrics=["insertion_deletion", "sparseness", "avg_sensitivity"], again=2)
    said = str(got)
    assert "Take Cheap." in said and "±" in said and "Student" in said
    to = got.save(tmp_path / "card.json")
    kept = json.loads(to.read_text(encoding="utf-8"))
    assert kept["advice"]["method"] == "cheap" and len(kept["lines"]) == 3
    with pytest.raises(FileExists):
        got.save(to)
    assert [c["photos"] for c in kept["columns"]] == [COUNT, COUNT, 2]


def test_page_and_picture_hold_hostile_names_harmlessly() -> None:
    from html.parser import HTMLParser

    methods = [Planted("<script>alert(1)</script>", right()), Planted('"><img src=x onerror=y>', shuffled())]
    got = scorecard(
        api.wrap(Corners(), name="</title><b>x"),
        X,
        methods,
        target=0,
        controls=True,
        sanity=False,
        metrics=["deletion"],
    )
    page = render(got, date="2026-01-01")
    tags: list[str] = []

    class Seen(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            tags.append(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    Seen().feed(page)
    assert tags.count("script") == 1 and "b" not in tags
    svg = pareto(got).svg()
    assert "<script" not in svg and "<img" not in svg


def test_a_method_that_costs_too_much_is_not_asked_again() -> None:
    got = card(metrics=["insertion_deletion", "avg_sensitivity"], dear=20, again=2)
    cell = got.line("dear").cells[1]
    assert math.isnan(cell.mean) and "too much" in cell.reason
    assert not math.isnan(got.line("cheap").cells[1].mean)


# -- statistics --------------------------------------------------------------------------------------------------


def test_quantiles_of_student() -> None:
    """From any table."""
    for freedom, wanted in ((1, 12.7062), (2, 4.30265), (7, 2.36462), (30, 2.04227), (500, 1.96472)):
        assert t_quantile(0.975, freedom) == pytest.approx(wanted, rel=1e-4)


def test_intervals_cover_as_often_as_they_say() -> None:
    draws = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0)).tolist()
    inside = sum(low <= 0 <= high for low, high in map(interval, draws)) / len(draws)
    assert inside == pytest.approx(0.95, abs=0.015)
    assert all(map(math.isnan, interval([1.0])))


def test_sign_flips_by_hand() -> None:
    assert sign_flip([1.0] * 8) == pytest.approx(2 / 256)
    assert sign_flip([1.0, -1.0]) == 1.0
    assert sign_flip([0.0, 0.0]) == 1.0 == sign_flip([])
    assert sign_flip([3.0, 1.0, math.nan]) == 0.5
    assert sign_flip([1.0] * 20) < 1e-3
    draws = torch.randn(400, 8, generator=torch.Generator().manual_seed(1)).tolist()
    assert sum(sign_flip(d) < 0.05 for d in draws) / 400 == pytest.approx(0.05, abs=0.025)


def test_several_comparisons_at_once() -> None:
    assert sign_flips([]) == []
    assert sign_flips([[1.0] * 8, [0.0] * 8]) == pytest.approx([2 / 256, 1.0])
    ones = [[1.0 + 0.01 * k] * 8 for k in range(12)]
    assert sign_flips(ones) == pytest.approx([2 / 256] * 12)  # Holm would say 0.094
    draw = torch.randn(200, 5, 8, generator=torch.Generator().manual_seed(2)).tolist()
    assert sum(min(sign_flips(d)) < 0.05 for d in draw) / 200 < 0.09  # any false one, among five
    single = [sign_flip(d) for d in draw[0]]
    assert all(a >= b - 1e-12 for a, b in zip(sign_flips(draw[0]), single, strict=True))


def test_ranks_share_what_is_equal() -> None:
    assert mean_ranks([3.0, 1.0, 3.0, math.nan], lower=True)[:3] == [2.5, 1.0, 2.5]
    assert mean_ranks([3.0, 1.0, 2.0], lower=False) == [1.0, 3.0, 2.0]
    assert mean_ranks([3.0, 1.0, 1.001, 2.0], lower=True) == [4.0, 1.5, 1.5, 3.0]  # but for rounding
    assert mean_ranks([2.0, 2.0], lower=True) == [1.5, 1.5] and mean_ranks([], lower=True) == []


def test_advice_without_candidates_says_why() -> None:
    column = Column(metric="d", title="D", family="faithfulness", better="lower", says="", photos=8, decides=True)
    line = Line(
        method="a",
        title="A",
        control=False,
        cells=(),
        score=1.0,
        ranks=(1.0,),
        p=math.nan,
        failed=("other class",),
        rows=1,
        seconds=1,
    )
    got = advise([line], [column], 8, 0.05)
    assert got.method is None and "A fails other class" in got.doubts[0]
