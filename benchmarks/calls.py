"""How many calls an error takes: ours beside the peers' with 1000 calls, on three photos, with error bars.

`python -m benchmarks.calls [SEEDS] [FOLDER]` prints the tables alone. The scores of a photo's coalitions are kept in
FOLDER, so that all designs, seeds and peers ask the model once for each, and another run for nothing. The first one
takes about half an hour of one core.
"""

from __future__ import annotations

import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.scored import Scores, games
from benchmarks.truths import LONG, PART, PARTS, Known, lime_truth, owen_truth, shapley_truth
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.lime import LIME
from pellucid.methods.owen_shapley import OwenShapley

PEERS = 1000
"""Calls of the peers."""
CALLS = (125, 250, 500)
"""Calls of ours."""
FLATTEST = 0.25
"""Slope of an error below which its fall is taken for chance; half is that of samples."""
TINY = 1e-12
"""A squared error, where that of the truth leaves nothing."""
DRAWS = 1000
"""Resamples of the seeds for the error bars."""


# -- who is compared -------------------------------------------------------------------------------------------------

Estimate = Callable[[Scores, int], Tensor]
"""From the game and a seed to the players' values."""


def lime(scores: Scores, seed: int, calls: int = PEERS) -> Tensor:
    """lime itself, on a picture with one pixel for every superpixel: hidden ones show 0."""
    from lime import lime_image

    picture = np.ones((1, scores.players, 3))
    with patch.object(lime_image, "tqdm", lambda it: it):
        explainer: Any = lime_image.LimeImageExplainer(random_state=seed)
        made = explainer.explain_instance(
            picture,
            lambda some: scores(some[:, 0, :, 0])[:, None],
            labels=(0,),
            top_labels=None,
            hide_color=0,
            num_samples=calls,
            batch_size=calls,
            segmentation_fn=lambda one: np.arange(scores.players)[None],
            random_seed=0,
        )
    return torch.tensor([value for _, value in sorted(made.local_exp[0])], dtype=torch.float64)


def shap_kernel(scores: Scores, seed: int, sparse: Any = False) -> Tensor:
    """shap's KernelExplainer; by default it makes its values sparse."""
    import shap

    made = shap.KernelExplainer(scores, np.zeros((1, scores.players)))
    more = {} if sparse is None else {"l1_reg": sparse}
    with _drawing(seed):
        found = made.shap_values(np.ones((1, scores.players)), nsamples=PEERS, silent=True, **more)
    return torch.from_numpy(np.asarray(found))[0]


def shap_partition(scores: Scores, seed: int) -> Tensor:
    """shap's PartitionExplainer on our tree; it draws only to tell equal credits apart."""
    import shap as told

    shap: Any = told
    size = [1.0] * scores.players
    for a, b in scores.tree.tolist():
        size.append(size[a] + size[b])
    height = torch.arange(1.0, scores.players)
    linkage = torch.cat([scores.tree, torch.stack([height, torch.tensor(size[scores.players :])], 1)], 1)
    masker = shap.maskers.Partition(np.zeros((1, scores.players)), clustering=linkage.double().numpy())
    with _drawing(seed):
        made = shap.PartitionExplainer(scores, masker)(np.ones((1, scores.players)), max_evals=PEERS, silent=True)
    return torch.from_numpy(np.asarray(made.values))[0].double()


@contextmanager
def _drawing(seed: int) -> Generator[None]:
    """shap draws from the global generator, which is as it was afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def ours(make: Callable[..., Any], calls: int, scores: Scores, seed: int, **more: Any) -> Tensor:
    """A method of ours with so many calls."""
    return scores.values(make(samples=calls, seed=seed, **more))


def owen(estimator: str, calls: int, scores: Scores, seed: int) -> Tensor:
    """Ours of the tree; splitting draws nothing."""
    return scores.values(OwenShapley(estimator=estimator, calls=calls, hierarchy=scores.tree, seed=seed))


LIMES: dict[str, tuple[Estimate, int]] = {
    "`lime`": (lime, PEERS),
    **{f"LIME, {n}": (partial(ours, LIME, n), n) for n in CALLS},
}
SHAPLEYS: dict[str, tuple[Estimate, int]] = {
    "`shap` Kernel, as it comes": (partial(shap_kernel, sparse=None), PEERS),
    "`shap` Kernel, l1_reg=False": (shap_kernel, PEERS),
    **{f"least squares, {n}": (partial(ours, KernelSHAP, n), n) for n in CALLS},
    **{f"process, {n}": (partial(ours, KernelSHAP, n, estimator="process"), n) for n in CALLS},
}
OWENS: dict[str, tuple[Estimate, int]] = {
    "`shap` Partition": (shap_partition, PEERS),
    **{f"splitting, {n}": (partial(owen, "split", n), n) for n in (*CALLS, PEERS)},
    **{f"orders, {n}": (partial(owen, "orders", n), n) for n in (*CALLS[1:], PEERS)},
    **{f"process, {n}": (partial(owen, "process", n), n) for n in CALLS},
}
"""Who is compared, and with how many calls."""


# -- who is how far from the truth -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one photo: the squared errors of every name, [seed, player], its calls, and the error of the truth.

    The truth's own squared error, on which theirs do not depend, is taken off.
    """

    squares: Mapping[str, Tensor]
    calls: Mapping[str, int]
    truth: float

    @staticmethod
    def of(scores: Scores, who: dict[str, tuple[Estimate, int]], seeds: int, truth: Known) -> Errors:
        true = truth(scores)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {name: [estimate(scores, seed) for seed in range(seeds)] for name, (estimate, _) in who.items()}
        noise = true.std_error.square()
        squares = {name: (torch.stack(values) - true.values).square() - noise for name, values in found.items()}
        return Errors(squares, {name: calls for name, (_, calls) in who.items()}, float(noise.mean().sqrt()))

    def rms(self, name: str, at: tuple[Tensor, Tensor] | None = None) -> float:
        squares = self.squares[name]
        return float((squares if at is None else squares[at[0]][:, at[1]]).mean().clamp_min(TINY).sqrt())

    def reached(self, own: Sequence[str], peer: str, at: tuple[Tensor, Tensor] | None = None) -> float:
        """Calls of ours for the peer's error, on the lines between the logarithms of errors and of calls."""
        x = [math.log(self.calls[name]) for name in own]
        y = [math.log(self.rms(name, at)) for name in own]
        aim = math.log(self.rms(peer, at))
        last = next((k for k in range(1, len(y)) if y[k] <= aim), len(y) - 1)
        slope = min((y[last] - y[last - 1]) / (x[last] - x[last - 1]), -FLATTEST)
        return math.exp(x[last] + (aim - y[last]) / slope)

    def bar(self, own: Sequence[str], peer: str) -> float:
        """Half of the 68 % interval of the same, over seeds and players drawn again."""
        draw = torch.Generator().manual_seed(0)
        seeds, players = self.squares[peer].shape
        again = (
            (torch.randint(seeds, (seeds,), generator=draw), torch.randint(players, (players,), generator=draw))
            for _ in range(DRAWS)
        )
        low, high = np.quantile([self.reached(own, peer, at) for at in again], [0.16, 0.84])
        return float(high - low) / 2


# -- the tables ------------------------------------------------------------------------------------------------------

SAYS = """Errors are root mean squares over the {players} superpixels of a photo and {seeds} seeds, in thousandths of
the top class's probability, against a long run: LIME's own regression on {long} coalitions, columns of Hadamard
matrices; for Shapley values {parts} coalitions, of which a smooth function takes what it can and least squares the
rest. The square of its own standard error is taken off; below that stands with how many calls a peer would be as near,
its error falling with their root. Owen values are exact: the whole tree is split. The calls at which our error is that
of a peer with {peers} are read off the lines between the logarithms of ours, beyond the last of them off that line, ±
half of a 68 % interval over seeds and superpixels. Nothing is drawn where a tree is split; there the interval is over
superpixels alone."""
TABLES: tuple[tuple[str, dict[str, tuple[Estimate, int]], Known], ...] = (
    ("LIME", LIMES, lime_truth),
    ("Shapley values", SHAPLEYS, shapley_truth),
    ("Owen values", OWENS, owen_truth),
)


def tables(seeds: int = 4, folder: Path | None = None) -> list[str]:
    """Ask everything; the lines of the section."""
    with tempfile.TemporaryDirectory() as temporary:
        asked = games(folder or Path(temporary))
        players = " to ".join(str(f(one.players for one in asked.values())) for f in (min, max))
        long, parts = f"{LONG:,}", f"{PARTS * PART:,}"
        says = SAYS.format(players=players, seeds=seeds, peers=PEERS, long=long, parts=parts)
        lines = ["## Calls that an error takes", "", says, ""]
        for title, who, truth in TABLES:
            errors = {name: Errors.of(one, who, seeds, truth) for name, one in asked.items()}
            lines += [*_errors(title, errors), "", *_reached(title, errors), ""]
        return lines


def _errors(title: str, errors: Mapping[str, Errors]) -> list[str]:
    calls = next(iter(errors.values())).calls
    lines = [f"| {title}: error | calls | {' | '.join(errors)} |", "|---|--:|" + "--:|" * len(errors)]
    for name, count in calls.items():
        each = [f"{one.rms(name) * 1e3:.2f}" for one in errors.values()]
        lines.append(f"| {_kind(name)} | {count} | {' | '.join(each)} |")
    return lines if not all(one.truth for one in errors.values()) else [*lines, *_truths(errors)]


def _truths(errors: Mapping[str, Errors]) -> list[str]:
    """What the truth is wrong by, and how many calls of the last peer would bring it as near."""
    peer = [name for name in next(iter(errors.values())).calls if name == _kind(name)][-1]
    each = [f"{one.truth * 1e3:.2f}" for one in errors.values()]
    worth = [f"{PEERS * (one.rms(peer) / one.truth) ** 2:,.0f}" for one in errors.values()]
    return [
        f"| standard error of the truth | | {' | '.join(each)} |",
        f"| … calls of {peer} that have it | | {' | '.join(worth)} |",
    ]


def _reached(title: str, errors: Mapping[str, Errors]) -> list[str]:
    calls = next(iter(errors.values())).calls
    lines = [f"| {title}: calls for the error of {PEERS} | {' | '.join(errors)} | aim | |"]
    lines.append("|---|" + "--:|" * (len(errors) + 1) + "---|")
    for peer in (name for name in calls if name == _kind(name)):
        for kind in dict.fromkeys(_kind(name) for name in calls if name != _kind(name)):
            own = [name for name in calls if _kind(name) == kind]
            found = [one.reached(own, peer) for one in errors.values()]
            cells = [f"{n:.0f} ± {one.bar(own, peer):.0f}" for n, one in zip(found, errors.values(), strict=True)]
            mark = "met" if max(found) <= PEERS / 4 else f"missed: up to {max(found) / PEERS:.2f}"
            lines.append(f"| {kind}, as {peer} | {' | '.join(cells)} | ≤ {PEERS // 4} | {mark} |")
    return lines


def _kind(name: str) -> str:
    """Without the number of calls, which ours have."""
    return name if name.startswith("`") else name.rpartition(", ")[0]


if __name__ == "__main__":
    torch.set_num_threads(2)
    given = sys.argv[1:]
    print("\n".join(tables(int(given[0]) if given else 4, Path(given[1]) if given[1:] else None)))
