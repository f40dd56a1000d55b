"""Products and sums in one call, written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Number = float | int


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """β · input + α · A B; where only A depends on the model's input it is a linear layer."""
    if input.dim() == 1 and beta == alpha == 1 and not (input.requires_grad or mat2.requires_grad):
        return F.linear(mat1, mat2.t(), input)
    return _sum(input, mat1 @ mat2, beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """β · input + α · A v."""
    return _sum(input, mat @ vec, beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """β · input + α · v wᵀ."""
    return _sum(input, torch.outer(vec1, vec2), beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """β · input + α · A B for every row."""
    return _sum(input, torch.bmm(batch1, batch2), beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """β · input + α · Σ A B over the rows."""
    return _sum(input, torch.bmm(batch1, batch2).sum(0), beta, alpha)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value · a b."""
    return _sum(input, tensor1 * tensor2, 1, value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value · a / b."""
    return _sum(input, tensor1 / tensor2, 1, value)


def lerp(input: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    """(1 − w) · a + w · b."""
    return (1 - weight) * input + weight * end


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """aᵀ W b + bias for every output."""
    product = torch.einsum("...i,oij,...j->...o", input1, weight, input2)
    return product if bias is None else product + bias


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · σ(b), a and b the halves of the input."""
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    """softmax(−x)."""
    return F.softmax(-input, dim, _stacklevel, dtype)


def _sum(input: Tensor, product: Tensor, beta: Number, alpha: Number) -> Tensor:
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product
