"""Small transformers: tokens with a class and a register token, and windows with the channels last."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.testing.nets import CHANNELS, CLASSES

DIM, HEADS = 8, 2


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer norm and beside a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.attn = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        self.up, self.down = nn.Linear(DIM, 2 * DIM), nn.Linear(2 * DIM, DIM)

    def mix(self, x: Tensor) -> Tensor:
        """Attention as the module computes it."""
        return self.attn(x, x, x, need_weights=False)[0]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class FunctionalBlock(Block):
    """The same weights, with attention written out."""

    def mix(self, x: Tensor) -> Tensor:
        """softmax(q kᵀ / √d) v, by one function."""
        qkv = F.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, HEADS, DIM // HEADS)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.attn.out_proj(mixed.transpose(1, 2).flatten(2))


class ModuleAttention(nn.Module):
    """A vision transformer with 2 × 2 patches behind a class and a register token."""

    block_type = Block

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(CHANNELS, DIM, 4, stride=4)
        self.extra = nn.Parameter(torch.zeros(1, 2, DIM))
        self.place = nn.Parameter(torch.zeros(1, 6, DIM))
        self.block, self.last = self.block_type(), self.block_type()
        self.norm = nn.LayerNorm(DIM)
        self.fc = nn.Linear(DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.extra.expand(len(x), -1, -1), tokens], 1) + self.place
        return self.fc(self.norm(self.last(self.block(tokens)))[:, 0])


class FunctionalAttention(ModuleAttention):
    """The same with attention as a function."""

    block_type = FunctionalBlock


class SwinBlock(nn.Module):
    """Attention inside shifted windows of 2 × 2 places, channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        y = torch.roll(self.norm(x), (-1, -1), (1, 2))
        y = y.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        q, k, v = self.qkv(y).chunk(3, -1)
        y = self.out(((q @ k.transpose(1, 2)) / c**0.5).softmax(-1) @ v)
        y = y.view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return x + torch.roll(y, (1, 1), (1, 2))


class Swin(nn.Module):
    """A patch embedding, one block, the mean of all places."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(CHANNELS, DIM, 2, stride=2)
        self.block = SwinBlock()
        self.norm = nn.LayerNorm(DIM)
        self.fc = nn.Linear(DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.patch(x).permute(0, 2, 3, 1))
        return self.fc(self.norm(x).mean((1, 2)))
