"""Multipliers between a reference and the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, RowCheck, Where, attribution, together
from pellucid.core.errors import ParameterError
from pellucid.core.explanation import Kind
from pellucid.core.fold import Moment, Moments, Stack
from pellucid.core.method import method, one_of, param
from pellucid.core.points import At, Between, Same, Span
from pellucid.ops.checks import completeness
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

    The sum over i is s(x) − s(b), exactly: what every operator hands on is shared out among its inputs. Products,
    norms, softmax, attention and maxima included, however they are written.

    baseline   an input that carries no evidence, in pixel units
    rule       how activation functions share: `rescale`, one multiplier for each; `reveal_cancel`, one each for what
               speaks for and what speaks against it, where their input comes from a linear layer
    unknown    operators that change in ways not known: `error`, or `gradient`, with which completeness is lost
    at         a layer: contributions of its activations there; None for the input
    """

    baseline: Any = param(default="black")
    rule: str = one_of("rescale", "reveal_cancel", default="rescale")
    unknown: str = one_of("error", "gradient", default="error")
    at: Any = param(default=None)

    async def explain(self, q: Query) -> Attribution:
        reference = At(q.baseline(self.baseline))
        where = Where(rule=Multipliers(self.rule, self.unknown), against=reference)  # pyright: ignore[reportArgumentType]
        if self.at is not None:
            (x, m), (b, _) = await together(q.site(self.at, where=where), q.site(self.at, reference))
            return attribution(m * (x - b), at=self.at)
        m, of_x, of_b = await together(q.grad(where=where), q.score(), q.score(reference))
        values = m * (q.x - reference.x)
        return attribution(values, checks=[exact(values, of_x, of_b)])


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
    rule, unknown  as in DeepLIFT
    """

    baselines: Any = param(default=("black", "white", "noise"))
    rule: str = one_of("rescale", "reveal_cancel", default="rescale")
    unknown: str = one_of("error", "gradient", default="error")

    async def explain(self, q: Query) -> Attribution:
        grounds = torch.stack([q.baseline(b) for b in _each(self.baselines, q.x)])
        count = len(grounds)
        references = Between(q.x, grounds, tuple(range(count)), (0.0,) * count, q.std(0.0), 0)
        where = Where(rule=Multipliers(self.rule, self.unknown), against=references)  # pyright: ignore[reportArgumentType]
        product: Moment
        product, of_x, of_b = await together(
            q.grad(Same(q.x, count), Moments(Span(references)), where), q.score(), q.score(references, Stack())
        )
        check = exact(product.mean, of_x, of_b.mean(1), of_b.abs().amax(1))
        return attribution(product.mean, std_error=product.std_error, checks=[check])


def exact(values: Tensor, of_x: Tensor, of_b: Tensor, scale: Tensor | None = None) -> RowCheck:
    """|Σ_i a_i − Δs| / max(|Δs|, φ s), s the larger of the two scores: nothing but rounding.

    φ is 1/1000, or what makes the limit 32 roundings of the scores: no sum can be nearer to their difference.
    """
    eps = torch.finfo(values.dtype).eps
    limit = 1e-5 * max(1.0, eps / torch.finfo(torch.float32).eps)
    size = of_x.abs().maximum(of_b.abs() if scale is None else scale)
    says = "part of the difference of scores that the values do not account for; more than rounding needs a reason"
    return completeness(values, of_x - of_b, limit, max(1e-3, 32 * eps / limit) * size, says)


def _each(specs: Any, x: Tensor) -> list[Any]:
    """The backgrounds, one by one."""
    if isinstance(specs, Tensor):
        many = list(specs) if specs.ndim == x.ndim else [specs]
    else:
        many = list(specs) if isinstance(specs, (tuple, list)) else [specs]
    if not many:
        raise ParameterError("no baselines", "at least one background", "baselines=('black', 'white')")
    return many
