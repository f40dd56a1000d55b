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
from pellucid.methods.chefer import GenericAttention, TransformerAttribution
from pellucid.methods.le_grad import LeGrad
from pellucid.ops.attention import brought
from pellucid.testing import tiny

X = torch.cat([pictures(3, 8), pictures(3, 8).flip(0)], -1)[..., :12]  # 8 × 12 pixels: 2 × 3 patches
EVERY: tuple[Any, ...] = (AttentionRollout(), GenericAttention(), LeGrad(), TransformerAttribution())


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


def over(r: Tensor, z: Tensor) -> Tensor:
    return r / (z + 1e-6 * torch.where(z < 0, -1.0, 1.0))


def share(parts: list[Tensor], r: Tensor) -> list[Tensor]:
    """Relevance of the summands of a sum."""
    return [part * over(r, sum(parts, torch.zeros_like(r))) for part in parts]


def z_plus(a: Tensor, w: Tensor, r: Tensor) -> Tensor:
    """Relevance of the inputs of a linear layer, [tokens, in], by all products of an input and a weight."""
    products = (a[:, None, :] * w[None]).clamp(min=0)  # [tokens, out, in]
    return (products * over(r, products.sum(-1))[..., None]).sum(1)


def relevance(model: ViT, x: Tensor, target: int) -> list[Tensor]:
    """Relevance of every block's attention, [heads, tokens, tokens], of 1 at the target; block after block by hand."""
    weights, streams = unrolled(model, x)
    streams = [model.embed(x[None])[0], *streams]
    r = torch.zeros_like(model.norm(streams[-1]))
    seed = torch.zeros(1, CLASSES, dtype=x.dtype)
    seed[0, target] = 1
    r[:1] = z_plus(model.norm(streams[-1])[:1], model.head.weight, seed)
    found: list[Tensor] = []
    for block, a, before in reversed(list(zip(model.blocks, weights, streams, strict=False))):
        inner, n, d = block.norm1(before), before.shape[0], before.shape[1]
        qkv = torch.nn.functional.linear(inner, block.attend.attn.in_proj_weight, block.attend.attn.in_proj_bias)
        q, k, v = qkv.view(n, 3, HEADS, d // HEADS).permute(1, 2, 0, 3)
        mixed = (a @ v).transpose(0, 1).reshape(n, d)
        out = block.attend.attn.out_proj(mixed)
        middle = before + out
        up = block.up(block.norm2(middle))
        down = block.down(torch.nn.functional.gelu(up))
        r, r_down = share([middle, down], r)
        r_up = z_plus(torch.nn.functional.gelu(up), block.down.weight, r_down)
        r = r + z_plus(block.norm2(middle), block.up.weight, r_up)
        r, r_out = share([before, out], r)
        r_mixed = z_plus(mixed, block.attend.attn.out_proj.weight, r_out).view(n, HEADS, -1).transpose(0, 1)
        s = over(r_mixed, 2 * (a @ v))
        r_a, r_v = a * (s @ v.transpose(1, 2)), v * (a.transpose(1, 2) @ s)
        found.insert(0, r_a)
        s = over(r_a, 2 * (q @ k.transpose(1, 2)) / (d // HEADS) ** 0.5) / (d // HEADS) ** 0.5
        r_q, r_k = q * (s @ k), k * (s.transpose(1, 2) @ q)
        r_qkv = torch.stack([r_q, r_k, r_v]).permute(2, 0, 1, 3).reshape(n, 3 * d)
        r = r + z_plus(inner, block.attend.attn.in_proj_weight, r_qkv)
    return found


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("target", [0, 3])
def test_transformer_attribution(spelling: str, target: int) -> None:
    e = one(TransformerAttribution(), vit(SPELLINGS[spelling]), target)
    for i, x in enumerate(X):
        _, grads = slopes(vit(), x, target)
        flow = torch.eye(7, dtype=x.dtype)
        for g, r in zip(grads, relevance(vit(), x, target), strict=True):
            flow = flow + (g * r).clamp(min=0).mean(0) @ flow
        close(e.values[i].flatten(), flow[0, 1:], rtol=1e-5)


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


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-12])
def test_what_is_brought_is_not_lost_beside_the_identity(size: float) -> None:
    draw = torch.Generator().manual_seed(0)
    steps = [size * torch.rand(2, 3, 5, 5, generator=draw) for _ in range(3)]
    weight = torch.rand(2, 3, 5, generator=draw)
    one = torch.eye(5, dtype=torch.float64)
    first, second, third = (step.double() for step in steps)
    parts = third + second + first + third @ second + third @ first + second @ first + third @ second @ first
    wanted = (weight.double()[..., None, :] @ parts)[..., 0, :]
    torch.testing.assert_close((one + third) @ (one + second) @ (one + first) - one, parts, rtol=1e-3, atol=1e-15)
    torch.testing.assert_close(brought(steps, weight).double(), wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", EVERY)
def test_rows_chunks_and_targets_do_not_see_each_other(method: Any) -> None:
    whole = explain(vit(), X, method, target=[0, 3])
    for target, e in zip((0, 3), whole, strict=True):
        close(e.values, torch.cat([one(method, target=target, x=x[None]).values for x in X]))
        close(e.values, one(method, target=target, rows=2).values)


def test_all_share_their_passes() -> None:
    model = wrap(vit())
    together = explain(model, X, EVERY, target=1)
    assert together[0].record.passes.forward == 12  # the model, its relevance, two earlier exits; three pictures each
    assert together[0].record.passes.rounds == 1
    alone = explain(model, X, [AttentionRollout(), GenericAttention()], target=1)
    assert (alone[0].record.passes.forward, alone[0].record.passes.backward) == (3, 3)
    ahead = plan(model, X, EVERY, target=1)
    assert ahead.most.forward == ahead.least.forward == 12


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
    with pytest.raises(UnsupportedModel, match=r"7 tokens in layer .* and 4 in layer"):
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
