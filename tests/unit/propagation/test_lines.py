"""Lines of a composite: which call follows which rule, and what becomes of operators that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.propagation.nets import row
from torch import Tensor, nn

from pellucid.core.errors import ParameterError, RuleError
from pellucid.propagation import Call, Composite, Intercept, Kind, Laid, Manner, On, Place, Rule, inventory

X = row(2, 3, 6, 6, seed=4)


@dataclass(frozen=True)
class Times(Rule):
    """The signal times a number, for calls that keep the shape of their first input."""

    factor: float

    @property
    def name(self) -> str:
        return f"times {self.factor:g}"

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (self.factor * upstream[0],)


class Chain(nn.Module):
    """Five rectifiers with a smooth activation among them, in two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.GELU())
        self.b = nn.ModuleDict({"one": nn.ReLU(), "two": nn.ReLU()})

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b["two"](self.b["one"](self.a(x))))


RELUS = {"a.0": 0, "a.1": 1, "b.one": 2, "b.two": 3, "": 4}


def chosen(*lines: On) -> dict[str, str]:
    """Layer of every rectifier → rule, and that the rules do what the table says."""
    model, x = Chain().double(), X.clone().requires_grad_()
    composite = Composite("test", (On(Times(1), kinds=(Kind.RECTIFIER,)), *lines), Manner(), "gradient")
    places = inventory(model, lambda: model(x), composite)
    laid = composite.laid(places)
    with Intercept(model, laid) as seen:
        y = model(x)
    (found,) = torch.autograd.grad(y.sum(), x)
    audited = {e.layer: e.rule for e in seen.audit if e.operator == "relu"}
    factor = torch.tensor([float(rule.split()[1]) for rule in audited.values()]).prod()
    slope = torch.autograd.grad(F.gelu(z := F.relu(x).detach().requires_grad_()).sum(), z)[0]
    torch.testing.assert_close(found, factor * slope)
    assert audited == {place.layer: rule.name for place, rule in zip(places, composite.chosen(places)) if _relu(place)}  # noqa: B905
    return {layer: audited[layer].removeprefix("times ") for layer in RELUS}


def _relu(place: Place) -> bool:
    return place.operator == "relu"


LINES: dict[str, tuple[On, str]] = {
    "kind": (On(Times(2), kinds=(Kind.RECTIFIER, Kind.LINEAR)), "22222"),
    "operator": (On(Times(2), operators=("relu",)), "22222"),
    "one word": (On(Times(2), operators="rel?"), "22222"),
    "another operator": (On(Times(2), operators=("relu6",)), "11111"),
    "everything in a layer": (On(Times(2), operators=("relu",), layers="b.*"), "11221"),
    "several layers": (On(Times(2), kinds=(Kind.RECTIFIER,), layers=("a.1", "b.t*")), "12121"),
    "the model itself": (On(Times(2), operators=("relu",), layers=""), "11112"),
    "first": (On(Times(2), operators=("relu",), first=2), "22111"),
    "last": (On(Times(2), operators=("relu",), last=2), "11122"),
    "within": (On(Times(2), operators=("relu",), within=(1, 3)), "12211"),
    "within, from the end": (On(Times(2), operators=("relu",), within=(-2, -1)), "11121"),
    "within, open": (On(Times(2), operators=("relu",), within=(3, None)), "11122"),
    "first in a layer": (On(Times(2), operators=("relu",), layers="b.*", first=1), "11211"),
    "first and last": (On(Times(2), operators=("relu",), first=4, last=3), "11221"),
    "more than there are": (On(Times(2), operators=("relu",), last=99), "22222"),
}


@pytest.mark.parametrize(("line", "wanted"), LINES.values(), ids=LINES.keys())
def test_one_line_over_a_first(line, wanted):
    assert "".join(chosen(line).values()) == wanted


def test_the_last_line_that_fits_serves():
    found = chosen(On(Times(2), operators=("relu",), layers="b.*"), On(Times(3), kinds=(Kind.RECTIFIER,), last=2))
    assert "".join(found.values()) == "11233"


places = st.lists(
    st.tuples(st.sampled_from([Kind.LINEAR, Kind.ADD, Kind.CONVOLUTION]), st.sampled_from("ab")), max_size=12
).map(lambda every: tuple(Place(kind, kind.value, layer, 1, i) for i, (kind, layer) in enumerate(every)))
positions = st.builds(
    lambda first, last, within: {"first": first, "last": last, "within": within},
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 9),
    st.none() | st.tuples(st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9)),
)


@given(places=places, where=positions, layer=st.sampled_from(["*", "a", "b"]))
def test_positions_are_those_of_lists(places, where, layer):
    fitting = [p for p in places if p.kind is Kind.LINEAR and layer in ("*", p.layer)]
    kept = fitting[: where["first"]]
    kept = [p for p in kept if where["last"] is None or p in fitting[-where["last"] :]]
    kept = [p for p in kept if where["within"] is None or p in fitting[slice(*where["within"])]]
    line = On(Times(2), kinds=(Kind.LINEAR,), layers=layer, **where)
    assert line.among(places) == kept
    rules = Composite("test", (line,)).laid(places)
    assert [p for p in places if isinstance(rules.rule_for(p), Times)] == kept


def test_a_table_before_anything_runs():
    model = Chain().double()
    composite = Composite("mine", (On(Times(2), operators=("relu",), first=1),), unknown="gradient")
    found = inventory(model, lambda: model(X.clone().requires_grad_()), composite)
    table = composite.table(found)
    assert table.splitlines()[:3] == [
        "#  layer    operator  call  rule",
        "0  a.0      relu      1     times 2",
        "1  a.1      relu      1     no rule: plain gradient",
    ]
    assert str(composite.laid(found)) == table


def test_positions_must_be_settled_and_sets_of_rules_are_values():
    line = On(Times(2), operators=("relu",), first=1)
    composite = Composite("mine", (line,))
    model = Chain().double()
    with pytest.raises(RuleError, match="mine looks at positions"), Intercept(model, composite):
        model(X.clone().requires_grad_())
    found = inventory(model, lambda: model(X.clone().requires_grad_()))
    assert composite.laid(found) == Composite("mine", (line,)).laid(found)
    assert len({composite.laid(found), Composite("mine", (line,)).laid(found), composite, Laid(composite, ())}) == 3
    assert Composite("mine", (line,)).with_(line).lines == (line, line)


def test_layers_are_named_only_where_a_line_asks_for_them():
    assert not Composite("mine", (On(Times(2), last=1),)).manner.named
    assert Composite("mine", (On(Times(2)), On(None, layers="a.*"))).manner.named
    model, x = Chain().double(), X.clone().requires_grad_()
    composite = Composite("mine", (On(Times(2), operators=("relu",), within=(1, 3)),), unknown="gradient")
    laid = composite.laid(inventory(model, lambda: model(x), composite))
    maps = []
    for names in (True, False):
        with Intercept(model, laid, names=names):
            maps.append(torch.autograd.grad(model(x).sum(), x)[0])
    assert torch.equal(*maps)


@pytest.mark.parametrize("wrong", [{"first": 0}, {"last": -1}])
def test_wrong_lines_are_refused(wrong):
    with pytest.raises(ParameterError):
        On(None, **wrong)
    with pytest.raises(ParameterError, match="'error' or 'gradient'"):
        Composite("mine", (), unknown="ignore")  # pyright: ignore


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: On(Times(2), kinds="convolutions"), "perhaps 'convolution'"),
        (lambda: On(Times(2), kinds=(Kind.LINEAR, 3)), "kind 3"),
        (lambda: On("epsilon"), "a rule"),
        (lambda: On(Times(2), layers=3), "names"),
        (lambda: On(Times(2), within=(1,)), "two positions"),
        (lambda: Composite("mine", (Times(2),)), "lines, such as"),
    ],
)
def test_lines_that_would_never_fit_are_refused(make, says):
    with pytest.raises(ParameterError, match=says):
        make()


def test_kinds_may_be_words():
    assert On(Times(2), kinds=("convolution", Kind.LINEAR)) == On(Times(2), kinds=(Kind.CONVOLUTION, Kind.LINEAR))


class Distance(nn.Module):
    """An operator that is in no table, on a branch of its own."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cumprod(F.relu(x), 1), F.relu(x)


@pytest.mark.parametrize("positions", [False, True])
def test_unknown_operators_are_refused_when_a_signal_comes_back_to_them(positions):
    model, x = Distance(), X.clone().requires_grad_()
    line = On(Times(2), kinds=(Kind.RECTIFIER,), first=9 if positions else None)
    composite = Composite("mine", (line,))
    rules: Any = composite.laid(inventory(model, lambda: model(x))) if positions else composite
    with Intercept(model, rules) as seen:
        unknown, known = model(x)
    torch.testing.assert_close(torch.autograd.grad(known.sum(), x)[0], torch.full_like(x, 2))
    seen.verify()
    with pytest.raises(RuleError, match=r"mine has no rule for cumprod \(other\) in the model itself(?s:.*)with_\(On"):
        torch.autograd.grad(unknown.sum(), x)
    assert [(e.operator, e.rule) for e in seen.audit if not e.served] == [("cumprod", "none: refused")]


def test_unknown_operators_can_have_their_gradient_or_a_rule():
    model, x = Distance(), X.clone().requires_grad_()
    plain = Composite("mine", (On(Times(2), kinds=(Kind.RECTIFIER,)),), unknown="gradient")
    taught = plain.with_(On(Times(5), operators=("cumprod",)))
    maps = []
    for rules in (plain, taught):
        with Intercept(model, rules) as seen:
            y, _ = model(x)
        maps.append(torch.autograd.grad(y.sum(), x)[0])
        seen.verify()
    z = F.relu(x).detach().requires_grad_()
    torch.testing.assert_close(maps[0], 2 * torch.autograd.grad(torch.cumprod(z, 1).sum(), z)[0])
    torch.testing.assert_close(maps[1], torch.full_like(x, 10))
    assert [e.rule for e in seen.audit] == ["times 2", "times 5", "times 2"]


def test_another_way_through_the_model_is_refused_only_on_the_path():
    class Forks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            index = x.argmax()  # asks for a rule, and carries no signal
            return F.relu(x) * 1 if x.sum() > 0 else F.gelu(F.relu(x + index * 0))

    model = Forks()
    up, down = X.abs().requires_grad_(), (-X.abs()).requires_grad_()
    composite = Composite("mine", (On(Times(2), kinds=(Kind.RECTIFIER,), first=1), On(None, kinds=(Kind.MULTIPLY,))))
    laid = composite.laid(inventory(model, lambda: model(up)))
    with Intercept(model, laid) as seen:
        y = model(up)
    torch.autograd.grad(y.sum(), up)
    seen.verify()
    with Intercept(model, laid):
        y = model(down)
    with pytest.raises(RuleError, match="settle the composite anew"):
        torch.autograd.grad(y.sum(), down)
