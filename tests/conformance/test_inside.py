"""Questions about the inside of a model: edits behind a site, signals changed on the way back, attention weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.conformance.test_vocabulary import CLASS, ask
from torch import Tensor, nn

from pellucid.core.ask import Edit, Query, Where, together
from pellucid.core.errors import SiteError
from pellucid.core.fold import Stack
from pellucid.core.points import Along, Same
from pellucid.core.site import Site
from pellucid.core.target import Pick
from pellucid.testing import tiny

EXACT = {"atol": 1e-10, "rtol": 1e-9}


@pytest.fixture
def model() -> tiny.Tiny:
    return tiny.make("convnet")


def without_one(act: Tensor, k: Tensor, b: Tensor) -> Tensor:
    return act * (torch.arange(act.shape[1]) != k[:, None]).view(len(k), -1, *(1,) * (act.ndim - 2))


class Joined(nn.Module):
    """What lies before the edited layer is added and joined behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(8, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x).relu()
        b = self.second(a)
        b += a
        return self.head(torch.cat([a, b], 1).mean((2, 3)))


class Captured(Joined):
    """The number of rows is read before the edited layer and used behind it."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        a = self.first(x).relu()
        return self.head(torch.cat([a, self.second(a)], 1).mean((2, 3))[:rows])


def rows(many: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(many, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 3, 100, "auto"])
def test_edits_run_only_what_lies_behind_them(size):
    net, x = Joined().eval(), rows(2, 3, 6, 6)
    where = Where(edit=Edit(Site("second"), "each", without_one))
    got, passes = ask(net, x, lambda q: q.score(Same(q.x, 4), Stack(), where), rows=size)
    with torch.no_grad():
        a = net.first(x).relu()
        for k in range(4):
            b = without_one(net.second(a), torch.full((2,), k), torch.arange(2)) + a
            wanted = net.head(torch.cat([a, b], 1).mean((2, 3)))[:, CLASS]
            torch.testing.assert_close(got[0, k], wanted, **EXACT)
    if size in (100, "auto"):
        assert (passes.forward, passes.tails) == (2 + 2, 8)  # the clean rows, and each once more up to the layer


def test_a_model_that_counts_its_rows_early_is_run_as_a_whole():
    net, x = Captured().eval(), rows(2, 3, 6, 6)
    where = Where(edit=Edit(Site("second"), "each", without_one))
    got, passes = ask(net, x, lambda q: q.score(Same(q.x, 4), Stack(), where))
    with torch.no_grad():
        a = net.first(x).relu()
        for k in range(4):
            b = without_one(net.second(a), torch.full((2,), k), torch.arange(2))
            wanted = net.head(torch.cat([a, b], 1).mean((2, 3)))[:, CLASS]
            torch.testing.assert_close(got[0, k], wanted, **EXACT)
    assert (passes.forward, passes.tails) == (2 + 8, 0)


def test_an_edit_may_depend_on_the_clean_row():
    net, x = Joined().eval(), rows(3, 3, 6, 6)

    def scaled(act: Tensor, k: Tensor, b: Tensor) -> Tensor:
        return act * (k + 10 * b).to(act).view(-1, 1, 1, 1)

    where = Where(edit=Edit(Site("first"), "scaled", scaled))
    got, _ = ask(net, x, lambda q: q.score(Same(q.x, 2), Stack(), where))
    with torch.no_grad():
        for k in range(2):
            a = (net.first(x) * (k + 10 * torch.arange(3.0)).view(-1, 1, 1, 1)).relu()
            wanted = net.head(torch.cat([a, net.second(a) + a], 1).mean((2, 3)))[:, CLASS]
            torch.testing.assert_close(got[0, k], wanted, **EXACT)


def test_an_edit_at_points_that_differ_before_it_runs_all_of_them():
    net, x = Joined().eval(), rows(2, 3, 6, 6)
    where, t = Where(edit=Edit(Site("second"), "half", lambda act, k, b: act / 2)), (0.25, 0.5, 1.0)
    got, passes = ask(net, x, lambda q: q.score(Along(q.x * 0, q.x, t), Stack(), where))
    with torch.no_grad():
        for k, share in enumerate(t):
            a = net.first(share * x).relu()
            wanted = net.head(torch.cat([a, net.second(a) / 2 + a], 1).mean((2, 3)))[:, CLASS]
            torch.testing.assert_close(got[0, k], wanted, **EXACT)
    assert (passes.forward, passes.tails) == (2 + 6, 0)


def test_an_earlier_activation_in_the_place_of_a_later_one():
    net, x = Joined().eval(), rows(2, 3, 6, 6)
    where = Where(edit=Edit(Site("second"), "first instead", lambda act, k, b: act, source=Site("first")))
    (_, slope), score = ask(net, x, lambda q: together(q.site("first", where=where), q.score(where=where)))[0]
    first = net.first(x).detach().requires_grad_()
    a = first.relu()
    wanted = net.head(torch.cat([a, first + a], 1).mean((2, 3)))[:, CLASS]
    torch.testing.assert_close(score[0], wanted.detach(), **EXACT)
    torch.testing.assert_close(slope[0], torch.autograd.grad(wanted.sum(), first)[0], **EXACT)


def test_a_signal_is_changed_on_the_way_back():
    net, x = Joined().eval(), rows(2, 3, 6, 6)

    def only(signal: Tensor, k: Tensor, b: Tensor) -> Tensor:
        return signal * (torch.arange(signal.shape[1]) == k[:, None])[:, :, None, None]

    where = Where(signal=Edit(Site("second"), "only", only))
    got, _ = ask(net, x, lambda q: q.grad(Same(q.x, 4), Stack(), where))
    for k in range(4):
        leaf = x.clone().requires_grad_()
        a = net.first(leaf).relu()
        b = net.second(a)
        b.register_hook(lambda g, k=k: g * (torch.arange(4) == k)[:, None, None])
        score = net.head(torch.cat([a, b + a], 1).mean((2, 3)))[:, CLASS].sum()
        torch.testing.assert_close(got[0, k], torch.autograd.grad(score, leaf)[0], **EXACT)


@dataclass(frozen=True, slots=True, eq=False)
class Doubled(Pick):
    def value(self, outputs: Tensor, rows: Tensor, emits: str, inner: Tensor | None = None) -> Tensor:
        return 2 * Pick.value(self, outputs, rows, emits, inner)

    def plain_logit(self, emits: str) -> bool:
        return False


def doubled(pick: Pick) -> Pick:
    return Doubled(pick.target, pick.output, pick.index, pick.minus, pick.rank)


def test_another_number_made_of_the_target():
    net, x = Joined().eval(), rows(2, 3, 6, 6)
    plain, twice, at = ask(net, x, lambda q: together(q.grad(), q.grad(of=doubled), q.site("second", of=doubled)))[0]
    torch.testing.assert_close(twice, 2 * plain, **EXACT)
    _, slope = ask(net, x, lambda q: q.site("second"))[0]
    torch.testing.assert_close(at[1], 2 * slope, **EXACT)


# -- attention -----------------------------------------------------------------------------------------------------


class Attends(nn.Module):
    """One head of attention over four patches and a class token, in three spellings."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.how = how
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        t = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x).flatten(2).transpose(1, 2)], 1)
        if self.how == "module":
            return self.head(self.attn(t, t, t, need_weights=False)[0][:, 0])
        qkv = F.linear(t, self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = (p.unflatten(2, (2, 4)).transpose(1, 2) for p in qkv.chunk(3, -1))
        if self.how == "fused":
            o = F.scaled_dot_product_attention(q, k, v)
        else:
            o = F.dropout((q @ k.mT / 2).softmax(-1), 0.1, training=False) @ v
        return self.head(self.attn.out_proj(o.transpose(1, 2).flatten(2))[:, 0])


def by_hand(net: Attends, x: Tensor) -> tuple[Tensor, Tensor]:
    """Weights, and the slope of the score there."""
    t = torch.cat([net.token.expand(len(x), -1, -1), net.patch(x).flatten(2).transpose(1, 2)], 1)
    qkv = F.linear(t, net.attn.in_proj_weight, net.attn.in_proj_bias)
    q, k, v = (p.unflatten(2, (2, 4)).transpose(1, 2) for p in qkv.chunk(3, -1))
    weights = (q @ k.mT / 2).softmax(-1).detach().requires_grad_()
    score = net.head(net.attn.out_proj((weights @ v).transpose(1, 2).flatten(2))[:, 0])[:, CLASS]
    return weights.detach(), torch.autograd.grad(score.sum(), weights)[0]


@pytest.mark.parametrize("how", ["module", "fused", "spelled out"])
def test_attention_weights_are_a_site(how):
    net, x = Attends(how).eval(), rows(2, 3, 8, 8)

    async def question(q: Query) -> Any:
        (attention,) = q.attentions
        return attention, await q.site(attention.site)

    (attention, (weights, slope)), passes = ask(net, x, question)
    assert (attention.heads, attention.queries, attention.keys, attention.windows) == (2, 5, 5, 1)
    assert (attention.prefix, attention.grid) == (1, (2, 2))
    wanted = by_hand(net, x)
    torch.testing.assert_close(weights, wanted[0], **EXACT)
    torch.testing.assert_close(slope[0], wanted[1], **EXACT)
    assert (passes.forward, passes.backward) == (2, 2)  # the clean rows ride on the same pass


def test_a_layer_without_attention_says_where_there_is_some():
    net = Attends("fused").eval()
    with pytest.raises(SiteError, match="computes no attention") as refusal:
        ask(net, rows(1, 3, 8, 8), lambda q: q.site(Site("head", layout="attention")))
    assert "attentions are in" in str(refusal.value)


def test_layers_and_attentions_are_known_to_methods(model):
    async def question(q: Query) -> Any:
        return q.layers, q.attentions

    got, _ = ask(model.module, model.x, question)
    assert got[1] == ()
    assert all(isinstance(site, Site) for site in got[0])
    assert "bn2" in [site.name for site in got[0]]
