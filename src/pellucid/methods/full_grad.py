"""The gradient at the input together with those at all biases."""

from __future__ import annotations

from torch import Tensor

from pellucid.core.ask import Attribution, Can, Query, RowCheck, Where, attribution, together
from pellucid.core.errors import InputError
from pellucid.core.explanation import HEIGHT, WIDTH, Kind
from pellucid.core.method import method, param
from pellucid.ops.checks import relative_gap
from pellucid.propagation.full_gradient import FullGradient, sized

RESCALE = "stretch the shares of the input and of every layer to [0, 1] before they are added, as the paper does"


@method(
    kind=Kind.CAM,
    title="FullGrad",
    cite="srinivas2019full",
    needs=(Can.GRADIENT, Can.RULES),
    family="gradient",
)
class FullGrad:
    """L = ψ(x ⊙ g) + Σ_l ψ(β_l ⊙ G_l),  g = ∂s/∂x, G_l = ∂s/∂z_l, ψ = Σ_channels u(|·|)    [Srinivas & Fleuret 2019]

    u stretches to [0, 1] and enlarges to the picture. β_l is what the output z_l of an operator does not owe to its
    input: biases, shifts of batch norms, and what bent functions other than ReLU add. Operators are found where they
    run, so functional models need nothing special. Outputs without height and width, such as those of dense layers,
    have no place in the map.

    rescale  without it, the map is the sum of the shares' sizes, which compares layers with each other

    The check `full_gradient` compares x·g + Σ_l β_l·G_l with the score: a gap says that the model adds something that
    no operator here accounts for, as softmax and layer norm do.
    """

    rescale: bool = param(default=True, says=RESCALE)

    async def explain(self, q: Query) -> Attribution:
        if q.x.ndim != 4:
            raise InputError(f"rows of shape {tuple(q.x.shape[1:])}", "pictures [channel, height, width]")
        rules = Where(rule=FullGradient(self.rescale))
        slope, canvas, score = await together(q.grad(), q.grad(where=rules), q.score())
        own = q.x * slope
        first = sized(own.abs().flatten(0, 1), self.rescale).unflatten(0, own.shape[:2]).sum(2)
        total = own.flatten(2).sum(2) + canvas[:, :, -1].flatten(2).sum(2)
        whole = _whole(relative_gap(total[..., None], score))
        return attribution(first + canvas[:, :, 0], dims=(HEIGHT, WIDTH), checks=[whole])


def _whole(gap: Tensor) -> RowCheck:
    says = "part of the score that neither the input nor any bias accounts for"
    return RowCheck(name="full_gradient", value=gap, passed=gap <= 0.05, limit=0.05, says=says)
