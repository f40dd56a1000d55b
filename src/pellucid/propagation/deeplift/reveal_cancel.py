"""RevealCancel: positive and negative contributions to a rectifier's input have multipliers of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from pellucid.propagation.deeplift.products import Midpoint, gradient
from pellucid.propagation.deeplift.secant import Curve, Rescale, Signals, at_input, ends, refusal, secant, subject
from pellucid.propagation.operators import Kind
from pellucid.propagation.rules import Call, Rule, Slot

_LINEAR: Final = (Kind.LINEAR, Kind.CONVOLUTION, Kind.MATMUL)


@dataclass(frozen=True, slots=True)
class Signed(Midpoint):
    """m_x = Σ_j w_j (1[w_j Δx > 0] m⁺_j + 1[w_j Δx < 0] m⁻_j)    [shrikumar2017learning, sec. 3.5.1]

    for linear operators of one input, whose reader has left m⁺ and m⁻; half of each where Δx = 0.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "contributions by sign"

    @property
    def least(self) -> int:
        """One: what is linear in it too."""
        return 1

    def serves(self, call: Call) -> bool:
        """All."""
        return True

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The inputs."""
        return Midpoint.keep(self, call, inputs) if sum(call.tracked) > 1 else inputs

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """The signal that arrives counts for both signs; what rectifiers have left differs."""
        if sum(call.tracked) > 1:
            return Midpoint.back(self, call, kept, *upstream)
        left: list[tuple[Tensor, Tensor]] = call.fate.left
        if not left:
            return gradient(call, kept, upstream[0])
        plus = sum((p for p, _ in left), upstream[0])
        minus = sum((n for _, n in left), upstream[0])
        left.clear()
        index, at = subject(call), weight(call)
        w = kept[at]
        x, r = ends(call, kept, index)

        def pull(w: Tensor, m: Tensor) -> Tensor:
            found = gradient(call, (*kept[:at], w, *kept[at + 1 :]), m)[index]
            return torch.zeros_like(x) if found is None else found

        rising = pull(w.clamp(min=0), plus) + pull(w.clamp(max=0), minus)
        falling = pull(w, plus + minus) - rising
        way = x - r
        return at_input(index, torch.where(way > 0, rising, torch.where(way < 0, falling, (rising + falling) / 2)))


@dataclass(frozen=True, slots=True)
class Affine(Rule):
    """z = s · u + t per channel, as batch norm is outside training: m_u = s · m_z

    traced  False leaves it to its plain gradient, which is the same, but cannot be looked through
    """

    traced: bool = True

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "affine"

    def serves(self, call: Call) -> bool:
        """Raises RuleError for a norm that computes its own means."""
        if call.kwargs.get("training", call.args[5] if len(call.args) > 5 else False):
            raise refusal(call, "normalises with the numbers of the batch", "use running means (model.eval())")
        return self.traced

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The scale."""
        x = inputs[subject(call)].detach()
        return (scale(call, inputs, x),)

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """s · m_z."""
        return at_input(subject(call), kept[0] * upstream[0])


def scale(call: Call, inputs: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """s, as [1, channel, 1, ...]: the gradient at one number of every channel."""
    one = torch.zeros_like(x[:1].flatten(2)[..., :1] if x.ndim > 2 else x[:1])
    (found, *_) = gradient(call, (one, *inputs[1:]), torch.ones_like(one))
    return torch.ones_like(one) if found is None else found.view(1, -1, *(1,) * (x.ndim - 2))


@dataclass(frozen=True, slots=True)
class RevealCancel(Rescale):
    """m⁺ = (½ (f(r + Δ⁺) − f(r)) + ½ (f(x) − f(r + Δ⁻))) / Δ⁺, and m⁻ likewise    [shrikumar2017learning, sec. 3.5.2]

    Δ⁺ and Δ⁻ are the positive and the negative contributions to x − r of the inputs of the linear operator that made
    x, a batch norm between them included. Where x has another origin, its change has one sign only, and m = Δf / Δx.
    """

    @property
    def name(self) -> str:
        """The word in the audit."""
        return "reveal-cancel"

    def keep(self, call: Call, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """m, and m⁺ − m and m⁻ − m for the linear operator's output, where there is one; they are as x is."""
        index = subject(call)
        (m,) = Rescale.keep(self, call, inputs)
        origin = origin_of(inputs[index])
        if origin is None:
            return (m,)
        (x, r), f = ends(call, inputs, index), Curve.of(call, inputs, index)
        plus, minus = origin.parts(x - r)
        r = r.expand_as(x)
        up = (secant(f, r + plus, r) + secant(f, x, r + minus)) / 2 - m
        down = (secant(f, r + minus, r) + secant(f, x, r + plus)) / 2 - m
        call.fate.left.append((origin.call, origin.order))
        return (m, *origin.turned(up, down))

    def back(self, call: Call, kept: tuple[Tensor, ...], *upstream: Tensor) -> Signals:
        """m · m_out as if there were no signs; the differences are left for the linear operator."""
        if len(kept) > 1:
            maker, order = call.fate.left[0]
            up, down = kept[1] * upstream[0], kept[2] * upstream[0]
            maker.fate.left.append((moved(up, inverse(order)), moved(down, inverse(order))))
        return Rescale.back(self, call, kept, *upstream)


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The linear operator that a tensor comes from, s · u + constant with its output u.

    order  the axes of u in the tensor; None for the same. s is as the tensor is
    """

    call: Call
    inputs: tuple[Tensor, ...]
    scale: Tensor | None
    order: tuple[int, ...] | None = None

    def parts(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Δ⁺ and Δ⁻: Σ_i max(w_i Δx_i, 0) and Σ_i min(w_i Δx_i, 0), times s; together the whole change."""
        call, at = self.call, weight(self.call)
        index = subject(call)
        x, r = ends(call, self.inputs, index)
        way, w = x - r, self.inputs[at]

        def through(w: Tensor, way: Tensor) -> Tensor:
            return call.run(
                tuple(
                    way if i == index else w if i == at else torch.zeros_like(tensor)
                    for i, tensor in enumerate(self.inputs)
                )
            )

        up = through(w.clamp(min=0), way.clamp(min=0)) + through(w.clamp(max=0), way.clamp(max=0))
        up = moved(up, self.order)
        if self.scale is None:
            plus = up.clamp(min=0)
        else:
            down = through(w.clamp(min=0), way.clamp(max=0)) + through(w.clamp(max=0), way.clamp(min=0))
            plus = self.scale * torch.where(self.scale > 0, up, moved(down, self.order))
        return plus, change - plus

    def turned(self, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        """Multipliers of the two parts of s · u as those of u: a negative scale turns the signs."""
        s = self.scale
        if s is None:
            return up, down
        return s * torch.where(s > 0, up, down), s * torch.where(s > 0, down, up)


def origin_of(x: Tensor) -> Origin | None:
    """The linear operator behind a tensor, through batch norms, added constants, permutations, copies; or None."""
    node, s, order = x.grad_fn, None, tuple(range(x.ndim))
    while node is not None:
        call: Any = getattr(node, "call", None)
        edges = [edge for edge, _ in node.next_functions if edge is not None and "Accumulate" not in edge.name()]
        if isinstance(call, Call) and call.place.kind in _LINEAR and sum(call.tracked) == 1:
            return Origin(call, _kept(node), s, None if order == tuple(range(x.ndim)) else order)
        if isinstance(call, Call) and call.operator.name == "batch_norm":
            own = _kept(node)[0].permute(order)
            s = own if s is None else s * own
        elif node.name() == "PermuteBackward0":
            dims = [int(d) % len(order) for d in node._saved_dims]  # pyright: ignore
            order = tuple(dims[i] for i in order)
        elif node.name() == "AddBackward0":
            if len(edges) != 1 or node._saved_alpha != 1:  # pyright: ignore
                return None
        elif node.name() != "CloneBackward0":
            return None
        node = edges[0] if edges else None
    return None


def moved(tensor: Tensor, order: tuple[int, ...] | None) -> Tensor:
    """With its axes in another order; None for the same."""
    return tensor if order is None else tensor.permute(order)


def inverse(order: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The order that leads back."""
    return None if order is None else tuple(order.index(i) for i in range(len(order)))


def _kept(node: Any) -> tuple[Tensor, ...]:
    return tuple(held.get(node.call.operator.name) for held in node.kept)


def weight(call: Call) -> int:
    """Which input of a linear operator is multiplied with the tracked one."""
    if call.place.kind is Kind.MATMUL or call.operator.name in ("addmm", "addmv", "baddbmm"):
        return max(i for i, flag in enumerate(call.tracked) if not flag)
    given: Any = call.args[1] if len(call.args) > 1 else call.kwargs["weight"]
    if not isinstance(given, Slot):
        raise TypeError(f"{call.operator.name} without a weight")
    return given.index
