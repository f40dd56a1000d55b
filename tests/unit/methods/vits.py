"""Small vision transformers with attention spelled in several ways, and the same in plain steps that keep it all."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from tests.unit.models import net
from torch import Tensor, nn

WIDTH, HEADS, CLASSES = 8, 2, 5

Mix = Callable[["Attend", Tensor], Tensor]


class Attend(nn.Module):
    """Projections with attention between them; `mix` spells it."""

    def __init__(self, mix: Mix) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mix = (mix,)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix[0](self, x)

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, [batch, heads, tokens, width of a head] each."""
        qkv = F.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)
        return tuple(qkv.unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4))


def by_module(self: Attend, x: Tensor) -> Tensor:
    return self.attn(x, x, x, need_weights=False)[0]


def fused(self: Attend, x: Tensor) -> Tensor:
    q, k, v = self.split(x)
    return self.attn.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def written_out(self: Attend, x: Tensor) -> Tensor:
    q, k, v = self.split(x)
    shares = ((q @ k.transpose(-2, -1)) / (WIDTH // HEADS) ** 0.5).softmax(-1)
    return self.attn.out_proj((shares @ v).transpose(1, 2).flatten(2))


SPELLINGS = {"module": by_module, "fused": fused, "written out": written_out}


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a residual sum."""

    def __init__(self, mix: Mix) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend = Attend(mix)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """4 × 4 pixel patches behind a class token and registers, if any; the head reads the first tokens or their mean."""

    def __init__(self, mix: Mix = written_out, depth: int = 3, prefix: int = 1, read: str = "class") -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.extra = nn.Parameter(torch.zeros(1, max(prefix, 1), WIDTH))
        self.place = nn.Parameter(torch.zeros(1, prefix + 6, WIDTH))
        self.blocks = nn.Sequential(*(Block(mix) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        self.prefix, self.read = prefix, read

    def embed(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        return torch.cat([self.extra[:, : self.prefix].expand(len(x), -1, -1), patches], 1) + self.place

    def exit(self, tokens: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        return self.head(tokens[:, 0] if self.read == "class" else tokens[:, self.prefix :].mean(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.exit(self.blocks(self.embed(x)))


def vit(mix: Mix = written_out, depth: int = 3, prefix: int = 1, read: str = "class", sharp: float = 4.0) -> ViT:
    """Seeded weights in float64; `sharp` multiplies queries and keys, so that attention is far from uniform."""
    made = net(ViT(mix, depth, prefix, read))
    assert isinstance(made, ViT)
    with torch.no_grad():
        for block in made.blocks:
            assert isinstance(block, Block)
            block.attend.attn.in_proj_weight[: 2 * WIDTH] *= sharp
    return made


def unrolled(model: ViT, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Attention weights and tokens behind every block of one picture [3, height, width], step by step.

    Weights are leaves for autograd: [heads, tokens, tokens]. Tokens: [tokens, width].
    """
    tokens = model.embed(x[None])[0]
    weights: list[Tensor] = []
    streams: list[Tensor] = []
    for block in model.blocks:
        assert isinstance(block, Block)
        inner = block.norm1(tokens)
        attn = block.attend.attn
        q, k, v = F.linear(inner, attn.in_proj_weight, attn.in_proj_bias).chunk(3, -1)
        size, here = WIDTH // HEADS, []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            a = torch.softmax(q[:, part] @ k[:, part].T / size**0.5, -1)
            here.append(a)
        shares = torch.stack(here) * 1
        weights.append(shares)
        parts = [shares[h] @ v[:, h * size : (h + 1) * size] for h in range(HEADS)]
        tokens = tokens + attn.out_proj(torch.cat(parts, -1))
        tokens = tokens + block.down(F.gelu(block.up(block.norm2(tokens))))
        streams.append(tokens)
    return weights, streams
