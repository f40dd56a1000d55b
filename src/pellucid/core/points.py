"""Where the model is asked: lazily built rows, equal by value, so that equal points are evaluated once.

A set of points puts `count` rows beside every clean row of the batch. Rows are built block by block
(`rows(k0, k1, b0, b1)`: points k0..k1 of clean rows b0..b1, point-major), so that memory is bounded for any count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import ClassVar

import torch
from torch import Tensor


class Points:
    """The questions a set of points answers. Subclasses are frozen dataclasses; tensors compare by value."""

    __slots__ = ()
    own: ClassVar[bool] = False
    """Whether `rows` always gives new memory, which a model that works in place may overwrite."""

    @property
    def count(self) -> int:
        """Points per clean row."""
        raise NotImplementedError

    @property
    def like(self) -> Tensor:
        """A tensor [batch, ...] with the shape, dtype and device of one point per clean row."""
        raise NotImplementedError

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        """Points k0..k1 of clean rows b0..b1 as rows [(k1 - k0) * (b1 - b0), ...], point-major."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return False
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))  # pyright: ignore

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.count, tuple(self.like.shape)))


def _same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or (
            a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and bool(torch.equal(a, b))
        )
    return a is b or a == b


@dataclass(frozen=True, slots=True, eq=False)
class At(Points):
    """The rows themselves.  x: [batch, ...]"""

    x: Tensor

    @property
    def count(self) -> int:
        return 1

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        return self.x[b0:b1]


@dataclass(frozen=True, slots=True, eq=False)
class Same(Points):
    """Every row many times: for edits inside the model that differ from point to point.  x: [batch, ...]"""

    x: Tensor
    many: int

    @property
    def count(self) -> int:
        return self.many

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        return self.x[b0:b1].repeat(k1 - k0, *(1,) * (self.x.ndim - 1))


@dataclass(frozen=True, slots=True, eq=False)
class Along(Points):
    """Points b + t (x − b) on the straight line.  start, end: [batch, ...]; t: positions, 0 at start and 1 at end."""

    start: Tensor
    end: Tensor
    t: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.t)

    @property
    def like(self) -> Tensor:
        return self.end

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        a, b = self.start[b0:b1], self.end[b0:b1]
        t = b.new_tensor(self.t[k0:k1]).view(-1, *(1,) * b.ndim)
        return (a + t * (b - a)).flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Around(Points):
    """Noisy copies x + std · n_k with n_k ~ N(0, 1).

    std: [batch or 1, ...], broadcast against x, in the units of x. Draw k depends on (seed, k) alone, so it is the
    same whatever else is in the batch, and all images and methods see common random numbers.
    """

    x: Tensor
    std: Tensor
    samples: int
    seed: int

    @property
    def count(self) -> int:
        return self.samples

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x = self.x[b0:b1]
        std = self.std if len(self.std) == 1 else self.std[b0:b1]
        return torch.cat([x + std * normal(x.shape[1:], self.seed, k, like=x) for k in range(k0, k1)])


@dataclass(frozen=True, slots=True, eq=False)
class Between(Points):
    """Random points b_k + t_k (x_k − b_k) between backgrounds and (noisy) inputs: the draws of expected gradients.

    x: [batch, ...]; starts: backgrounds [many, batch or 1, ...]; which: background of every draw; t: position of
    every draw; std: noise on x ([batch or 1, ...], zero for none).
    """

    x: Tensor
    starts: Tensor
    which: tuple[int, ...]
    t: tuple[float, ...]
    std: Tensor
    seed: int

    @property
    def count(self) -> int:
        return len(self.t)

    @property
    def like(self) -> Tensor:
        return self.x

    def ends(self, k: int, b0: int, b1: int) -> tuple[Tensor, Tensor]:
        """Background and (noisy) input of draw k."""
        x, starts = self.x[b0:b1], self.starts[self.which[k]]
        start = starts if len(starts) == 1 else starts[b0:b1]
        std = self.std if len(self.std) == 1 else self.std[b0:b1]
        end = x + std * normal(x.shape[1:], self.seed, k, like=x) if bool(std.any()) else x
        return start, end

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        ends = [(self.t[k], *self.ends(k, b0, b1)) for k in range(k0, k1)]
        return torch.cat([a + t * (b - a) for t, a, b in ends])


@dataclass(frozen=True, slots=True, eq=False)
class Span(Points):
    """The way x_k − b_k that belongs to every draw of `Between`: the factor of expected gradients."""

    draws: Between

    @property
    def count(self) -> int:
        return self.draws.count

    @property
    def like(self) -> Tensor:
        return self.draws.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        ends = [self.draws.ends(k, b0, b1) for k in range(k0, k1)]
        return torch.cat([(b - a).expand(b1 - b0, *b.shape[1:]) for a, b in ends])


@dataclass(frozen=True, slots=True, eq=False)
class Masked(Points):
    """Copies of x in which parts are hidden.

    x: [batch, channel, height, width]; hidden: bool [count, parts], True where the part is hidden; parts: number of
    the part of every place, int64 [height, width] or [batch, height, width]; fill: what hidden places show,
    [batch or 1, ...], broadcast against x, in the units of x.
    """

    own = True
    x: Tensor
    hidden: Tensor
    parts: Tensor
    fill: Tensor

    @property
    def count(self) -> int:
        return len(self.hidden)

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        x = self.x[b0:b1]
        fill = self.fill if len(self.fill) == 1 else self.fill[b0:b1]
        parts = self.parts if self.parts.ndim == 2 else self.parts[b0:b1]
        away = self.hidden[k0:k1].to(x.device)[:, parts.to(x.device)]  # [points, (batch,) height, width]
        away = away.view(k1 - k0, -1, 1, *away.shape[-2:])
        return torch.where(away, fill, x).flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Built(Points):
    """Any other points: `build(k, x_rows) -> rows`, one point per clean row; equal when `name` and x are equal.

    For methods and metrics whose points none of the others describes. build must be a pure function of its
    arguments; name must hold everything that build depends on.
    """

    x: Tensor
    name: tuple[object, ...]
    many: int
    build: Callable[[int, Tensor], Tensor]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Built) and other.name == self.name and self.many == other.many and _same(self.x, other.x)
        )

    __hash__ = Points.__hash__

    @property
    def count(self) -> int:
        return self.many

    @property
    def like(self) -> Tensor:
        return self.x

    def rows(self, k0: int, k1: int, b0: int, b1: int) -> Tensor:
        return torch.cat([self.build(k, self.x[b0:b1]) for k in range(k0, k1)])


def generator(*seed: int | str) -> torch.Generator:
    """A generator of its own for this seed; the global random state is not read and not changed."""
    digest = blake2b(":".join(map(str, seed)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def normal(shape: torch.Size | tuple[int, ...], seed: int, k: int, like: Tensor) -> Tensor:
    """Draw k of standard normal noise, the same on every device."""
    return torch.randn(shape, generator=generator(seed, k), dtype=like.dtype).to(like.device)
