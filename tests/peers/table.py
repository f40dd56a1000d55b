"""Writes docs/agreement.md: `python -m tests.peers.table`, or PELLUCID_WRITE_DOCS=1 with the tests of this folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from tests.peers import beside, measured, prepared, rows, sampled
from tests.peers.rows import KNOWN, TOLERANCE, Known, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agreement.md"
PACKAGES = ("torch", "torchvision", "timm", "captum", "grad-cam", "torchcam", "zennit", "lime", "shap", "quantus")
DIFFERENCES = "tests/peers"

HEAD = """\
# Agreement with other libraries

The same model, the same rows, the same class, in double precision on one thread: does another library get the numbers
that Pellucid gets? `python -m tests.peers.table` writes this page, and the tests in `tests/peers` check every row of
it. Written with {versions}.

**How it is compared.** A difference is the largest difference of two maps, relative to the largest value in them. Rows
agree up to {tolerance}. Differences below 1e-12 are not told apart: they depend on the machine. Where agreement is no
closer than 1e-8, the peer rounds its weights to single precision, or adds a small ε to a denominator.

Pellucid explains all methods of a model in one call, without any preparation of the model. Peers are given the
arguments that make them compute the same thing: `abs=False` for Captum's Saliency, `relu_attributions=True` for its
Grad-CAM, nearest-neighbour enlargement for Guided Grad-CAM (to whole multiples of the map, where all conventions are
one), the same windows and the same colour for occlusion, the same nodes for paths, which start at zero. The maps of
pytorch-grad-cam are those that it computes before it stretches them to [0, 1] and enlarges them, those of torchcam
before it stretches them; both are given a `reshape_transform` for the transformers, while Pellucid finds the grid of
tokens by itself. torchcam's LeGrad reads the class token here, as the model does, and not the mean of all tokens.
zennit is given the models that its canonizers know, in which the ε of a batch norm has been moved into its variance. In
games on regions, which are the cells of random points, Captum and lime are handed our coalitions, shap our orders and
our tree, and we are handed the coalitions of its Kernel SHAP with their weights; hidden regions show one colour, or
their mean colour where lime is the peer. Captum fits in single precision, and is given double precision here.

**Models.** efficientnet_lite0 has its released weights and sees 96 × 96 pixels of the cat. The others have random
weights from a local generator, with norms far from the identity, and see noise: vgg11 (48 pixels, a small head),
resnet18, densenet121, a ViT of timm (vit_tiny_patch16) and a narrow form of torchvision's vit_b_16 (64 pixels each).

**Differences.** Each has its reason, and a test that shows who is right: an axiom, or the same function written in
another way, that Pellucid passes and the peer fails. A *twin* is the same function written so that the peer sees what
it has to see; Pellucid explains the model as it stands.
"""

AFTER = """\
## What small nets show

Captum's DeepLIFT agrees, to rounding, on nets in which it knows every module: convolutions, batch norms, average
pooling, and each of ReLU, sigmoid, tanh, ELU, leaky ReLU and softplus as a module used once
(`test_deep_lift_is_that_of_captum_where_captum_knows_all_modules`). In a softmax it takes a mean over the whole tensor,
the other rows of the batch included, so that a row's values depend on its neighbours; ours do not, and add up
(`test_deep_lift_through_a_softmax_does_not_know_the_other_rows`). zennit's five composites agree on vgg11_bn too
(`tests/peers/test_zennit.py`).

## What the peers do with their maps afterwards

pytorch-grad-cam returns every map cut at zero, stretched to [0, 1] and enlarged: neither the sign nor the size of the
evidence is left, and the map of twice the score is the same map. Stretched in the same way, Pellucid's maps equal its
maps (`test_sign_and_scale_survive`).
"""


FORMULAS = """\
The game of a table is played before 12 backgrounds. `tree_shap` goes through the package shap, and is compared with its
other way, over all coalitions. Formulas stand in `tests/peers/formulas.py`, written down from their papers: Xplique,
which has RISE, Sobol and HSIC attribution, needs TensorFlow, which is not installed beside the others. Two of its
choices are not ours: its Sobol indices are divided by the variance of one half of the samples, ours by that of both;
the width of its HSIC kernel is the median of the scores, which moves with their zero, ours that of their differences.
Interactions are those of shap's TreeExplainer; its ExactExplainer has another index, in which what a player does alone
is its worth before nobody else.

Without a peer on this page are anchors and extremal perturbations. Anchors are
compared with the precision of all sets, enumerated (`tests/unit/ops/test_anchors.py`), and their bounds with the roots;
extremal perturbations with models of which the best mask is known (`tests/unit/methods/test_extremal_perturbation.py`),
and their slope with the one that autograd finds.
"""


def power(difference: float) -> str:
    """The next power of ten; what is below 1e-12 depends on the machine."""
    if difference < 1e-12:
        return "< 1e-12"
    return f"< 1e{math.floor(math.log10(difference)) + 1}"


def share(difference: float) -> str:
    """A difference that is there, with two digits."""
    percent = 100 * difference
    return f"{percent:.0f} %" if percent >= 99.5 else f"{percent:.2g} %"


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def header(*titles: str) -> list[str]:
    return [line(*titles), "|" + " --- |" * len(titles)]


def limit(tolerance: float) -> str:
    return f"1e{round(math.log10(tolerance))}"


def key(row: Row) -> str:
    """The cells by which a row is found again."""
    return line(row.method, row.model + (f"; twin: {row.twin}" if row.twin else ""), row.peer)


def compared(row: Row) -> str:
    """One row with its verdict."""
    found = row.measure()
    known = row.known
    shown = found if isinstance(found, str) else power(found) if known is None else share(found)
    fine = isinstance(found, float) and found <= TOLERANCE
    if known is None:
        verdict = "agrees" if fine else "**defect**"
    else:
        verdict = "**no longer differs**" if fine else f"differs: [{KNOWN.index(known) + 1}](#differences)"
    return f"{key(row)} {shown} | {limit(TOLERANCE)} | {verdict} |"


def reason(number: int, known: Known) -> str:
    return line(str(number), known.peer, ", ".join(known.methods), known.reason, f"`{known.proof}`")


def page() -> str:
    """The whole page; measures every row."""
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in PACKAGES)
    parts = [HEAD.format(versions=versions, tolerance=limit(TOLERANCE))]
    for peer in rows.PEERS:
        table = header("method", "model", "peer", "difference", "tolerance", "verdict")
        parts.append("\n".join([f"## {peer}", "", *table, *(compared(r) for r in rows.every() if r.peer == peer), ""]))
    table = header("no.", "peer", "methods", "reason", f"test in `{DIFFERENCES}`")
    parts.append("\n".join(["## Differences", "", *table, *(reason(i, k) for i, k in enumerate(KNOWN, 1)), ""]))
    parts += [AFTER, random_draws(), others(), judged(), evaluations()]
    return "\n".join(parts)


def random_draws() -> str:
    """Methods that draw: are the means within their errors of each other?"""
    lines = ["## Methods that draw at random", "", *header("method", "model", "peer", "distance", "verdict")]
    for one in sampled.COMPARED:
        fine = one.apart()[0] <= sampled.LIMIT
        within = f"within {sampled.LIMIT:.0f} standard errors of {sampled.SAMPLES} draws, at every pixel"
        lines.append(f"{sampled_key(one)} {within} | {'agrees' if fine else '**defect**'} |")
    return "\n".join([*lines, ""])


def sampled_key(one: sampled.Sampled) -> str:
    return line(one.title, "small tanh net", one.peer)


def others() -> str:
    """Tables, texts and formulas. Where a peer is not installed, what was written before stays."""
    lines = [
        "## Tables, texts and formulas",
        "",
        FORMULAS,
        *header("method", "of", "peer", "difference", "tolerance", "verdict"),
    ]
    for one in beside.COMPARED:
        lines += verdicts(beside_key(one), one.apart, beside.TOLERANCE) if one.there else before(beside_key(one))
    return "\n".join([*lines, ""])


def beside_key(one: beside.Beside) -> str:
    return line(one.method, one.of, one.peer)


def before(start: str) -> list[str]:
    """The row as it stands on the page."""
    page = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    return [old for old in page if old.startswith(start)]


def verdicts(start: str, apart: Callable[[], float], tolerance: float) -> list[str]:
    """The row, measured."""
    found = apart()
    verdict = "agrees" if found <= tolerance else "**defect**"
    return [f"{start} {power(found)} | {limit(tolerance)} | {verdict} |"]


def judged() -> str:
    """Metrics of the same maps and masks. Where a peer is not installed, what was written before stays."""
    says = (
        "With `compat=` the peer, on random maps and masks; colour means that every channel counts by itself. Captum\n"
        "is handed the perturbations that are ours. What is not compared, because it is not sound there, is listed in\n"
        "`pellucid.metrics.compat` with the reason. A difference is relative to the largest value of all maps."
    )
    lines = ["## Metrics", "", says, "", *header("metric", "maps", "peer", "difference", "tolerance", "verdict")]
    for one in measured.COMPARED:
        lines += verdicts(judged_key(one), one.apart, measured.TOLERANCE) if one.there else before(judged_key(one))
    return "\n".join([*lines, ""])


def judged_key(one: measured.Judged) -> str:
    return line(one.metric, one.maps, one.peer)


def evaluations() -> str:
    """Prepared against plain."""
    says = (
        "Batch-norms folded and memory laid out channels-last, against the model as it stands. Scores: largest\n"
        "difference; maps: relative L2. In single precision rounding flips kinks, in the plain evaluation as well."
    )
    lines = ["## The prepared evaluation", "", says, ""]
    lines += header("what", "model", "precision", "difference", "tolerance", "verdict")
    for row in prepared.every():
        found = row.measure()
        verdict = "agrees" if found <= row.tolerance else "**defect**"
        lines.append(f"{prepared_key(row)} {power(found)} | {limit(row.tolerance)} | {verdict} |")
    return "\n".join([*lines, ""])


def prepared_key(row: prepared.Prepared) -> str:
    return line(row.what, row.model, row.precision)


def main() -> None:
    """Measure, and write the page."""
    torch.set_num_threads(1)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    import tests.conftest  # noqa: F401 - lets torchvision be imported beside any torch

    main()
