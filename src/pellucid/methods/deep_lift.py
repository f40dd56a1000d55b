"""Multipliers between a reference and the input."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from pellucid.core.ask import DOUBLE, Attribution, Can, Query, RowCheck, Variant, Where, attribution, together
from pellucid.core.errors import ParameterError, UnsupportedModel
from pellucid.core.explanation import Kind
from pellucid.core.fold import Moment, Moments, Stack
from pellucid.core.method import method, one_of, param
from pellucid.core.points import At, Between, Same, Span
from pellucid.ops.checks import relative_gap
from pellucid.propagation.deeplift import Multipliers

NEEDS = (Can.GRADIENT, Can.RULES)
KEEPS = ("linear", "completeness", "dummy")


@method(
    kind=Kind.CONTRIBUTION,
    title="DeepLIFT",
    cite=("shrikumar2017learning", "lundberg2017unified"),
    needs=NEEDS,
    keeps=KEEPS,
    family="propagation",
)
class DeepLift:
    """a_i = m_i (x_i − b_i),  m = Δs/Δx through all operators    [Shrikumar et al. 2017, eq. 1–3]

    The sum over i is s(x) − s(b): what every operator hands on is shared out among its inputs. Products, norms,
    softmax, attention and maxima included, however they are written. What the sum lacks is at most 1e-5 of
    max(|s(x) − s(b)|, s / 1000), s the larger of the two scores; where single precision cannot reach that, for even
    the two scores are not known so well, the rows concerned are explained in double precision (`precision`).

    baseline   an input that carries no evidence, in pixel units
    rule       how activation functions share: `rescale`, one multiplier for each; `reveal_cancel`, one each for what
               speaks for and what speaks against it, where their input comes from a linear layer
    unknown    operators that change in ways not known: `error`, or `gradient`, with which completeness is lost
    at         a layer: contributions of its activations there; None for the input
    precision  `auto`: in the model's own, and once more in double precision where rounding took more than 1e-5 of the
               change; `model`: never more than its own; `double`: always (slower: 4 to 5 times on a CPU)
    """

    baseline: Any = param(default="black")
    rule: str = one_of("rescale", "reveal_cancel", default="rescale")
    unknown: str = one_of("error", "gradient", default="error")
    at: Any = param(default=None)
    precision: str = one_of("auto", "model", "double", default="auto")

    async def explain(self, q: Query) -> Attribution:
        reference = At(q.baseline(self.baseline))

        async def found(variant: Variant | None) -> Found:
            where = Where(variant, Multipliers(self.rule, self.unknown), against=reference)  # pyright: ignore[reportArgumentType]
            plain = Where(variant)
            m, of_x, of_b = await together(q.grad(where=where), q.score(where=plain), q.score(reference, where=plain))
            return Found(m * (q.x - reference.x), of_x, of_b, of_b.abs())

        return await in_precision(q, self.precision, found) if self.at is None else await self._inside(q, reference)

    async def _inside(self, q: Query, reference: At) -> Attribution:
        variant = first_variant(q, self.precision)
        where = Where(variant, Multipliers(self.rule, self.unknown), against=reference)  # pyright: ignore[reportArgumentType]
        (x, m), (b, _) = await together(q.site(self.at, where=where), q.site(self.at, reference, where=Where(variant)))
        return attribution(m * (x - b), at=self.at)


@method(
    kind=Kind.CONTRIBUTION,
    title="DeepLIFT-SHAP",
    cite=("lundberg2017unified", "shrikumar2017learning"),
    needs=NEEDS,
    keeps=KEEPS,
    family="propagation",
)
class DeepLiftShap:
    """a_i = E[m_i (x_i − b_i)],  DeepLIFT averaged over backgrounds b    [Lundberg & Lee 2017, sec. 4.2]

    An approximation of Shapley values with the backgrounds for what is missing. The sum over i is s(x) − E[s(b)],
    exactly; the standard errors say what another draw of backgrounds would change.

    baselines  backgrounds in pixel units: names, numbers and tensors, or one tensor [background, ...]
    rule, unknown, precision  as in DeepLIFT
    """

    baselines: Any = param(default=("black", "white", "noise"))
    rule: str = one_of("rescale", "reveal_cancel", default="rescale")
    unknown: str = one_of("error", "gradient", default="error")
    precision: str = one_of("auto", "model", "double", default="auto")

    async def explain(self, q: Query) -> Attribution:
        grounds = torch.stack([q.baseline(b) for b in _each(self.baselines, q.x)])
        count = len(grounds)
        references = Between(q.x, grounds, tuple(range(count)), (0.0,) * count, q.std(0.0), 0)

        async def found(variant: Variant | None) -> Found:
            where = Where(variant, Multipliers(self.rule, self.unknown), against=references)  # pyright: ignore[reportArgumentType]
            plain = Where(variant)
            product: Moment
            product, of_x, of_b = await together(
                q.grad(Same(q.x, count), Moments(Span(references)), where),
                q.score(where=plain),
                q.score(references, Stack(), plain),
            )
            return Found(product.mean, of_x, of_b.mean(1), of_b.abs().amax(1), product.std_error)

        return await in_precision(q, self.precision, found)


class Found(NamedTuple):
    """Contributions [target, batch, ...], and the scores between which they lie [target, batch].

    scale  the size of the scores of the references, [target, batch]
    """

    values: Tensor
    of_x: Tensor
    of_b: Tensor
    scale: Tensor
    std_error: Tensor | None = None

    @property
    def gap(self) -> Tensor:
        """|Σ_i a_i − Δs| / max(|Δs|, s / 1000), s the larger of the two scores, [target, batch]."""
        return relative_gap(self.values, self.of_x - self.of_b, 1e-3 * self.of_x.abs().maximum(self.scale))

    def where(self, kept: Tensor, other: Found) -> Found:
        """These for the targets and rows that are kept, the others' for the rest."""
        pairs = zip(self, other, strict=True)
        return Found(*(None if a is None else _where(kept, a, b) for a, b in pairs))  # pyright: ignore[reportArgumentType]


def _where(kept: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(kept.view(*kept.shape, *(1,) * (a.ndim - 2)), a.to(b.dtype), b)


async def in_precision(
    q: Query, precision: str, found: Callable[[Variant | None], Coroutine[Any, Any, Found]]
) -> Attribution:
    """What is found in the model's precision, and under `auto` in double precision where rounding took too much."""
    limit = LIMIT * max(1.0, torch.finfo(q.x.dtype).eps / torch.finfo(torch.float32).eps)
    first = await found(first_variant(q, precision))
    lost = ~(first.gap <= limit)
    says = SAYS
    if precision == "auto" and q.x.dtype is not torch.float64 and bool(lost.any()) and q.doubles:
        worst = float(first.gap[lost].max())
        says += f"; {int(lost.sum())} of {lost.numel()} found in double precision, as rounding took {worst:.1g}"
        first = first.where(~lost, await found(DOUBLE))
    gap = first.gap
    check = RowCheck(name="completeness", value=gap, passed=gap <= limit, limit=limit, says=says)
    return attribution(first.values, std_error=first.std_error, checks=[check])


def first_variant(q: Query, precision: str) -> Variant | None:
    """The double of the model where that is asked for. Raises UnsupportedModel where it has none."""
    if precision != "double" or q.x.dtype is torch.float64:
        return None
    if not q.doubles:
        raise UnsupportedModel(
            "precision='double' for a model that does not run in double precision, or differs there",
            "a model whose own code creates no numbers of a fixed precision",
            "precision='model'",
        )
    return DOUBLE


LIMIT: Final = 1e-5
"""How far the sum may be from the change of the score, relative to it, in single precision."""
SAYS: Final = "part of the difference of scores that the values do not account for; more than rounding needs a reason"


def _each(specs: Any, x: Tensor) -> list[Any]:
    """The backgrounds, one by one."""
    if isinstance(specs, Tensor):
        many = list(specs) if specs.ndim == x.ndim else [specs]
    else:
        many = list(specs) if isinstance(specs, (tuple, list)) else [specs]
    if not many:
        raise ParameterError("no baselines", "at least one background", "baselines=('black', 'white')")
    return many
