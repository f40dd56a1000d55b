"""Games on superpixels beside their peers: the same regions, rows and batches; times in plain forward passes.

`python -m benchmarks.games [SAMPLES]` prints the tables alone; a few samples show that everything runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

import pellucid
from benchmarks.cases import CLASS, Work, photos
from benchmarks.timing import Timing, interleaved
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.lime import LIME

ROWS = 8
"""Pictures in one batch of the peers, and of the plain forward; larger ones are slower on two cores."""
REGIONS = "slic(n=50)"
OURS, FLOOR = "ours", "plain forward"


@dataclass(frozen=True, slots=True)
class Game:
    """One row of the table: all candidates ask for `samples` scores of the same picture.

    bare  ours on a model that costs nothing: all that is not the model's time
    peers  with the ratio aimed at
    """

    name: str
    ours: Work
    bare: Work
    peers: dict[str, tuple[Work, float | None]]


class Trivial(nn.Module):
    """As many scores as the real model gives, for next to nothing."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, :, 0, 0])


def candidates(samples: int = 1000) -> tuple[list[Game], Work]:
    """LIME and Kernel SHAP on the cat, and the plain forward pass of as many rows."""
    handle = pellucid.load("efficientnet_lite0")
    one = photos(handle, 1)
    trivial = pellucid.wrap(Trivial(1000).eval(), preprocess=handle.preprocess, emits="logits")
    labels = pellucid.regions.cut(REGIONS, handle.preprocess.to_pixels(one))[0]
    scores = _probabilities(handle.module)

    def ours(model: Any, method: object) -> Work:
        return lambda: pellucid.explain(model, one, [method], target=CLASS, output="probability")

    lime = LIME(samples=samples - 1, regions=labels)
    shap = KernelSHAP(samples=samples - 2, regions=labels, fill="zero")
    return [
        Game(
            f"LIME, {samples} samples",
            ours(handle, lime),
            ours(trivial, lime),
            {
                "lime": (partial(_lime, scores, one[0], labels, samples), 0.45),
                "Captum Lime": (partial(_captum, "Lime", handle.module, one, labels, samples), 0.45),
            },
        ),
        Game(
            f"Kernel SHAP, {samples} samples",
            ours(handle, shap),
            ours(trivial, shap),
            {
                "Captum KernelShap": (partial(_captum, "KernelShap", handle.module, one, labels, samples), None),
                "shap Kernel": (partial(_kernel, scores, one, labels, samples), None),
                "shap Partition": (partial(_partition(scores, one, samples), one), None),
            },
        ),
    ], partial(_forward, scores, one, samples)


def tables(samples: int = 1000, repeat: int = 3) -> list[str]:
    """Time everything; the lines of the section."""
    games, forward = candidates(samples)
    lines = [f"## Games on {REGIONS}, the bundled model, one photo", "", SAYS.format(rows=ROWS), ""]
    lines += ["| what | ours | peer | peer | ours ÷ peer | aim | |", "|---|--:|---|--:|--:|--:|---|"]
    overheads: list[str] = []
    for game in games:
        peers = {name: work for name, (work, _) in game.peers.items()}
        works = {OURS: game.ours, FLOOR: forward, "bare": game.bare, **peers}
        timing = interleaved(works, repeat=repeat)
        lines += [_line(game, timing, name) for name in peers]
        overheads.append(_overhead(game, timing))
        print("\n".join(lines[-len(peers) :]), file=sys.stderr, flush=True)
    lines += ["", "| what | without a model, ms | share of the model's time | aim |", "|---|--:|--:|--:|", *overheads]
    return [*lines, ""]


SAYS = """Ours and the peers in units of the plain forward pass of as many rows, the model as it stands, {rows} a batch;
the peers ask in batches of the same size, on the same superpixels. shap Partition cuts the picture by itself, as it
always does. Below: ours on a model that costs nothing, which is everything but the model."""


def _line(game: Game, timing: Timing, peer: str) -> str:
    aim = game.peers[peer][1]
    ratio = timing.ratio(OURS, peer)
    mark = "" if aim is None else "met" if round(ratio, 2) <= aim else f"missed by {ratio - aim:.2f}"
    cells = [game.name, f"{timing.ratio(OURS, FLOOR):.2f}", peer, f"{timing.ratio(peer, FLOOR):.2f}", f"{ratio:.2f}"]
    return "| " + " | ".join([*cells, "" if aim is None else f"≤ {aim}", mark]) + " |"


def _overhead(game: Game, timing: Timing) -> str:
    bare, whole = timing.median("bare"), timing.median(OURS)
    return f"| {game.name} | {bare * 1e3:.0f} | {100 * bare / (whole - bare):.1f} % | ≤ 3 % |"


# -- the model, and the peers ----------------------------------------------------------------------------------------

Scores = Callable[[Tensor], Tensor]


def _probabilities(net: nn.Module) -> Scores:
    """Of rows, some at a time."""

    @torch.no_grad()
    def scores(rows: Tensor) -> Tensor:
        return torch.cat([net(some).softmax(1) for some in rows.split(ROWS)])

    return scores


def _forward(scores: Scores, one: Tensor, samples: int) -> None:
    for start in range(0, samples, ROWS):
        scores(one.expand(min(ROWS, samples - start), -1, -1, -1).contiguous())


def _lime(scores: Scores, row: Tensor, labels: Tensor, samples: int) -> Any:
    """lime of one class; the picture is the row as the model takes it, its hidden regions show their mean colour."""
    from lime import lime_image

    def outputs(pictures: np.ndarray) -> np.ndarray:
        return scores(torch.from_numpy(pictures).movedim(-1, 1).contiguous()).numpy()

    with patch.object(lime_image, "tqdm", lambda it: it):
        return lime_image.LimeImageExplainer(random_state=0).explain_instance(
            row.movedim(0, -1).contiguous().numpy(),
            outputs,
            labels=(CLASS,),
            top_labels=None,
            num_samples=samples,
            batch_size=ROWS,
            segmentation_fn=lambda picture: labels.numpy(),
        )


def _captum(name: str, net: nn.Module, one: Tensor, labels: Tensor, samples: int) -> Tensor:
    """Captum's Lime or KernelShap of a logit."""
    import captum.attr as ca

    return getattr(ca, name)(net).attribute(
        one, target=CLASS, feature_mask=labels[None, None], n_samples=samples, perturbations_per_eval=ROWS
    )


def _kernel(scores: Scores, one: Tensor, labels: Tensor, samples: int) -> Any:
    """shap's KernelExplainer over bits, since it knows no pictures."""
    import shap

    def game(bits: np.ndarray) -> np.ndarray:
        each = [_hidden(one, labels, some) for some in torch.from_numpy(bits).bool().split(ROWS)]
        return torch.cat([scores(rows)[:, CLASS] for rows in each]).numpy()

    count = int(labels.max()) + 1
    made = shap.KernelExplainer(game, np.zeros((1, count)))
    return made.shap_values(np.ones((1, count)), nsamples=samples, l1_reg=False, silent=True)


def _hidden(one: Tensor, labels: Tensor, shown: Tensor) -> Tensor:
    return one * shown[:, labels][:, None]


def _partition(scores: Scores, one: Tensor, samples: int) -> Callable[[Tensor], Any]:
    """shap's Partition over its own hierarchy of rectangles; its masker is built beforehand."""
    import shap

    picture = one[0].movedim(0, -1).contiguous().numpy()
    masker = shap.maskers.Image(np.zeros_like(picture), picture.shape)

    def outputs(pictures: np.ndarray) -> np.ndarray:
        return scores(torch.from_numpy(pictures).movedim(-1, 1).contiguous()).numpy()[:, [CLASS]]

    made = shap.PartitionExplainer(outputs, masker)
    return lambda x: made(
        x.movedim(1, -1).contiguous().numpy(), max_evals=samples, batch_size=ROWS, fixed_context=None, silent=True
    )


def _samples(given: Sequence[str]) -> int:
    return int(given[0]) if given else 1000


if __name__ == "__main__":
    torch.set_num_threads(2)
    print("\n".join(tables(_samples(sys.argv[1:]))))
