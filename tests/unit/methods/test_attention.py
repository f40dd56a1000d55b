"""Methods that follow attention, against loops over heads and tokens, closed forms, and other spellings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.methods.vits import CLASSES, HEADS, SPELLINGS, ViT, unrolled, vit
from tests.unit.models import Convnet, net, pictures
from torch import Tensor

from pellucid.api import explain, plan, wrap
from pellucid.core.errors import ParameterError, UnsupportedModel
from pellucid.core.explanation import Explanation, Kind
from pellucid.methods.attention_rollout import AttentionRollout
from pellucid.methods.chefer import GenericAttention
from pellucid.methods.le_grad import LeGrad
from pellucid.testing import tiny

X = torch.cat([pictures(3, 8), pictures(3, 8).flip(0)], -1)[..., :12]  # 8 × 12 pixels: 2 × 3 patches
EVERY: tuple[Any, ...] = (AttentionRollout(), GenericAttention(), LeGrad())


def one(method: Any, model: ViT | None = None, target: Any = 1, x: Tensor = X, **more: Any) -> Explanation:
    return explain(wrap(vit() if model is None else model, **more), x, method, target=target)[0]


def close(got: Tensor, wanted: Tensor, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(got, wanted.detach(), rtol=rtol, atol=1e-13)


def slopes(model: ViT, x: Tensor, target: int) -> tuple[list[Tensor], list[Tensor]]:
    weights, streams = unrolled(model, x)
    score = model.exit(streams[-1][None])[0, target]
    return weights, list(torch.autograd.grad(score, weights))


def rolled(model: ViT, x: Tensor, heads: str) -> Tensor:
    """Rollout of one picture, token by token."""
    weights = [each.detach() for each in unrolled(model, x)[0]]
    n = weights[0].shape[-1]
    flow = torch.eye(n, dtype=x.dtype)
    for each in weights:
        step = torch.zeros(n, n, dtype=x.dtype)
        for i in range(n):
            for j in range(n):
                seen = [float(each[h, i, j]) for h in range(HEADS)]
                step[i, j] = {"mean": sum(seen) / HEADS, "max": max(seen), "min": min(seen)}[heads] + float(i == j)
            step[i] /= step[i].sum()
        flow = step @ flow
    return flow


def generic(model: ViT, x: Tensor, target: int) -> Tensor:
    """R − I of one picture by the paper's update rule."""
    weights, grads = slopes(model, x, target)
    n = weights[0].shape[-1]
    relevance = torch.eye(n, dtype=x.dtype)
    for a, g in zip(weights, grads, strict=True):
        step = sum((g[h] * a[h]).clamp(min=0) for h in range(HEADS)) / HEADS
        relevance = relevance + step @ relevance
    return relevance - torch.eye(n, dtype=x.dtype)


def le_grad(model: ViT, x: Tensor, target: int) -> Tensor:
    """The columns' mean positive slopes, every block with an exit of its own."""
    weights, streams = unrolled(model, x)
    total = torch.zeros(weights[0].shape[-1], dtype=x.dtype)
    for a, tokens in zip(weights, streams, strict=True):
        score = model.exit(tokens[None])[0, target]
        (slope,) = torch.autograd.grad(score, a, retain_graph=True)
        for h in range(HEADS):
            for i in range(a.shape[-1]):
                total += slope[h, i].clamp(min=0) / (HEADS * a.shape[-1] * len(weights))
    return total


# -- against loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("heads", ["mean", "max", "min"])
def test_rollout(spelling: str, heads: str) -> None:
    e = one(AttentionRollout(heads=heads), vit(SPELLINGS[spelling]))
    close(e.values, torch.stack([rolled(vit(), x, heads)[0, 1:].view(2, 3) for x in X]))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("target", [0, 3])
def test_generic_attention(spelling: str, target: int) -> None:
    e = one(GenericAttention(), vit(SPELLINGS[spelling]), target)
    close(e.values, torch.stack([generic(vit(), x, target)[0, 1:].view(2, 3) for x in X]))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("target", [0, 3])
def test_le_grad(spelling: str, target: int) -> None:
    e = one(LeGrad(), vit(SPELLINGS[spelling]), target)
    close(e.values, torch.stack([le_grad(vit(), x, target)[1:].view(2, 3) for x in X]))


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_registers_are_cut_off_and_the_mean_is_read(prefix: int) -> None:
    model = vit(prefix=prefix, read="mean")
    wanted = [rolled(model, x, "mean")[prefix:, prefix:].mean(0).view(2, 3) for x in X]
    close(one(AttentionRollout(), model).values, torch.stack(wanted))
    wanted = [generic(model, x, 2)[prefix:, prefix:].mean(0).view(2, 3) for x in X]
    close(one(GenericAttention(), model, 2).values, torch.stack(wanted))
    close(one(LeGrad(), model, 2).values, torch.stack([le_grad(model, x, 2)[prefix:].view(2, 3) for x in X]))


def test_the_row_that_is_shown_can_be_chosen_and_is_kept() -> None:
    model = vit(prefix=2, read="mean")
    flow = torch.stack([rolled(model, x, "mean") for x in X])
    close(one(AttentionRollout(query="class"), model).values.flatten(1), flow[:, 0, 2:])
    close(one(AttentionRollout(query="mean"), model).values.flatten(1), flow.mean(1)[:, 2:])
    auto = one(AttentionRollout(), model).extras["readers"]
    close(auto, torch.tensor([0.0, 0.0] + [1 / 6] * 6, dtype=X.dtype).expand(3, -1))


# -- closed forms ------------------------------------------------------------------------------------------------


def test_uniform_attention_rolls_out_uniformly() -> None:
    """Ā = ½/n + ½ I, whose power L is (1 − 2⁻ᴸ)/n + 2⁻ᴸ I."""
    e = one(AttentionRollout(), vit(sharp=0.0))
    close(e.values, torch.full((3, 2, 3), (1 - 0.5**3) / 7, dtype=X.dtype))


def test_rollout_shares_out_one() -> None:
    model = vit(prefix=0, read="mean")
    for heads in ("mean", "max", "min"):
        close(one(AttentionRollout(heads=heads), model).values.sum((1, 2)), torch.ones(3, dtype=X.dtype))


def test_one_block_has_a_closed_form() -> None:
    """One layer: R = E_h[(∂s/∂A ⊙ A)⁺] away from the diagonal, and LeGrad is the model's own slope."""
    model = vit(depth=1)
    for i, x in enumerate(X):
        (a,), (g,) = slopes(model, x, 4)
        close(one(GenericAttention(), model, 4).values[i].flatten(), (g * a).relu().mean(0)[0, 1:])
        close(one(LeGrad(), model, 4).values[i].flatten(), g.relu().mean((0, 1))[1:])


# -- promises ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EVERY)
def test_rows_chunks_and_targets_do_not_see_each_other(method: Any) -> None:
    whole = explain(vit(), X, method, target=[0, 3])
    for target, e in zip((0, 3), whole, strict=True):
        close(e.values, torch.cat([one(method, target=target, x=x[None]).values for x in X]))
        close(e.values, one(method, target=target, rows=2).values)


def test_all_share_their_passes() -> None:
    model = wrap(vit())
    together = explain(model, X, EVERY, target=1)
    assert together[0].record.passes.forward == 9  # the model itself, and two earlier exits, for three pictures
    assert together[0].record.passes.rounds == 1
    alone = explain(model, X, [AttentionRollout(), GenericAttention()], target=1)
    assert (alone[0].record.passes.forward, alone[0].record.passes.backward) == (3, 3)
    ahead = plan(model, X, EVERY, target=1)
    assert ahead.most.forward == ahead.least.forward == 9


def test_rollout_is_the_same_for_all_classes_and_the_others_are_not() -> None:
    first, second = (explain(vit(), X, EVERY, target=t) for t in (0, 3))
    close(first[0].values, second[0].values)
    assert all(not torch.allclose(a.values, b.values) for a, b in list(zip(first, second, strict=True))[1:])


def test_what_they_are() -> None:
    for e in explain(vit(), X, EVERY):
        assert (e.kind, e.dims) == (Kind.CAM, ("batch", "height", "width"))
        assert bool((e.values >= 0).all())


# -- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EVERY)
def test_models_without_attention_and_with_windows_are_refused(method: Any) -> None:
    with pytest.raises(UnsupportedModel, match="computes no attention"):
        explain(net(Convnet()), pictures(), method)
    swin = tiny.make("swin")
    with pytest.raises(UnsupportedModel, match="windows"):
        explain(swin.module, swin.x, method)


class Pooled(ViT):
    """Tokens are thinned out behind the first block."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.blocks[0](self.embed(x))
        return self.exit(self.blocks[1](tokens[:, ::2]))


class Crossed(ViT):
    """A last attention from the class token alone."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.blocks(self.embed(x))
        return self.head(((tokens[:, :1] @ tokens.transpose(1, 2)).softmax(-1) @ tokens)[:, 0])


class Nowhere(ViT):
    """Blocks without a layer of their own."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x)
        for _ in range(2):
            tokens = tokens + (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens
        return self.exit(tokens)


@pytest.mark.parametrize("method", EVERY)
def test_changing_tokens_and_cross_attention_are_refused(method: Any) -> None:
    with pytest.raises(UnsupportedModel, match="7 tokens in layer .* and 4 in layer"):
        explain(net(Pooled(depth=2)), X, method)
    with pytest.raises(UnsupportedModel, match="from 1 tokens to 7 others"):
        explain(net(Crossed()), X, method)


def test_le_grad_needs_blocks_and_the_others_do_not() -> None:
    with pytest.raises(UnsupportedModel, match="several attentions run in layer of the model itself"):
        explain(net(Nowhere()), X, LeGrad())
    assert explain(net(Nowhere()), X, GenericAttention())[0].values.shape == (3, 2, 3)


class Shared(ViT):
    """One block that runs three times."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x)
        for _ in range(3):
            tokens = self.blocks[0](tokens)
        return self.exit(tokens)


def test_a_block_that_runs_several_times_is_several_blocks() -> None:
    """The same as three blocks with equal weights."""
    shared, apart = net(Shared(depth=1)), net(ViT())
    for block in apart.blocks:  # pyright: ignore
        block.load_state_dict(shared.blocks[0].state_dict())  # pyright: ignore
    for method in EVERY:
        close(explain(shared, X, method, target=2)[0].values, explain(apart, X, method, target=2)[0].values)


def test_unknown_heads_are_refused_with_a_hint() -> None:
    with pytest.raises(ParameterError, match="perhaps 'mean'"):
        AttentionRollout(heads="meen")


def test_an_output_that_nothing_moves_gives_an_empty_map_and_says_so() -> None:
    model = vit()
    with torch.no_grad():
        model.head.weight.zero_()
    e = one(AttentionRollout(), model)
    assert not bool(e.values.any()) and any("degenerate" in w for w in e.warnings)
    assert CLASSES == 5
