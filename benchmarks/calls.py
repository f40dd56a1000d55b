"""How many calls an error takes: ours beside the peers' with 1000 calls, on three photos, with error bars.

`python -m benchmarks.calls [SEEDS] [FOLDER]` prints the tables alone. The scores of a photo's coalitions are kept in
FOLDER, so that all designs, seeds and peers ask the model once for each, and another run for nothing.
"""

from __future__ import annotations

import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import pellucid
from benchmarks.cases import photos
from benchmarks.games import REGIONS
from pellucid.api.answers import said_of
from pellucid.methods.kernel_shap import KernelSHAP
from pellucid.methods.lime import LIME
from pellucid.ops.games import Played
from pellucid.ops.shapley_designs import leverage
from pellucid.ops.shapley_fit import shapley_fit
from pellucid.ops.smooth import shapley_of_powers

PEERS = 1000
"""Calls of the peers."""
CALLS = (125, 250, 500)
"""Calls of ours."""
LONG = 8_192
"""Coalitions of the long run for LIME: columns of Hadamard matrices, which count for more than twice as many coins."""
PARTS, PART = 4, 1024
"""Parts of the long run for Shapley values, and the coalitions of each."""
FAR = 1000
"""The first seed of the long runs; no estimate has it."""
NAMES = ("cat", "coffee", "astronaut")
ROWS = 480
KEPT = np.dtype([("coalition", "<u8"), ("score", "<f8")])
FLATTEST = 0.25
"""Slope of an error below which its fall is taken for chance; half is that of samples."""
DRAWS = 1000
"""Resamples of the seeds for the error bars."""


# -- the game --------------------------------------------------------------------------------------------------------


class Scores:
    """The top class's probability for a photo of which some superpixels show; others show their mean colour."""

    def __init__(self, handle: Any, row: Tensor, labels: Tensor, folder: Path, name: str) -> None:
        self.handle, self.row, self.labels = handle, row, labels
        self.file, self.players = folder / f"{name}.bin", int(labels.max()) + 1
        means = torch.stack([row[:, labels == k].mean(1) for k in range(self.players)], 1)
        self.hidden, self.top = means[:, labels], int(handle.module(row[None]).argmax())
        kept = np.fromfile(self.file, KEPT) if self.file.exists() else np.empty(0, KEPT)
        self.known: dict[int, float] = dict(zip(kept["coalition"].tolist(), kept["score"].tolist(), strict=True))

    def __call__(self, shown: Any) -> np.ndarray:
        """Scores of coalitions [rows, players]."""
        bits = np.asarray(shown).reshape(len(shown), self.players) > 0.5
        number = (bits.astype(np.uint64) << np.arange(self.players, dtype=np.uint64)).sum(1, dtype=np.uint64)
        new, at = np.unique(number, return_index=True)
        for some in _parts([i for n, i in zip(new.tolist(), at.tolist(), strict=True) if n not in self.known]):
            scores = self._of(torch.from_numpy(bits[some]))
            self.known |= dict(zip(number[some].tolist(), scores.tolist(), strict=True))
            with self.file.open("ab") as file:
                file.write(np.array(list(zip(number[some], scores, strict=True)), KEPT).tobytes())
        return np.array([self.known[n] for n in number.tolist()])

    def _of(self, shown: Tensor) -> np.ndarray:
        rows = torch.where(shown[:, self.labels][:, None], self.row, self.hidden)
        return said_of(self.handle, rows).outputs.softmax(1)[:, self.top].numpy()

    @cached_property
    def model(self) -> Any:
        """The game as a model of a table: a column for every superpixel, 1 where it shows."""
        return pellucid.wrap(self, np.zeros((1, self.players)), emits="values")

    def values(self, methods: Sequence[Any]) -> list[Tensor]:
        """What our methods say that the players are worth."""
        found = pellucid.explain(self.model, np.ones((1, self.players)), list(methods))
        return [e.extras["players"].flatten().double() for e in found]


def _parts(rows: list[int]) -> Iterable[list[int]]:
    return (rows[i : i + ROWS] for i in range(0, len(rows), ROWS))


def games(folder: Path) -> dict[str, Scores]:
    """By the photo's name."""
    handle = pellucid.load("efficientnet_lite0")
    x = photos(handle, len(NAMES))
    labels = pellucid.regions.cut(REGIONS, handle.preprocess.to_pixels(x))
    return {name: Scores(handle, x[i], labels[i], folder, name) for i, name in enumerate(NAMES)}


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
    before = np.random.get_state()  # noqa: NPY002 - shap draws from the global generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        found = made.shap_values(np.ones((1, scores.players)), nsamples=PEERS, silent=True, **more)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return torch.from_numpy(np.asarray(found))[0]


def ours(make: Callable[..., Any], calls: int, scores: Scores, seed: int, **more: Any) -> Tensor:
    """A method of ours with so many calls."""
    return scores.values([make(samples=calls, seed=seed, **more)])[0]


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
"""Who is compared, and with how many calls."""


# -- the truth, and who is how far from it ---------------------------------------------------------------------------


def lime_truth(scores: Scores) -> Tensor:
    """LIME's own regression, without a penalty."""
    return ours(LIME, LONG, scores, FAR, ridge=1e-6)


def shapley_truth(scores: Scores) -> Tensor:
    """The mean over parts of φ(f) + least squares of v − f, f a smooth function through the other parts.

    Whatever f is, the expectation is the truth [Witter et al. 2025].
    """
    designs = [leverage(scores.players, PART, FAR + i).beside(shown=True).beside(shown=False) for i in range(PARTS)]
    found: list[Tensor] = []
    for design in designs:
        smooth = Smooth.through(torch.cat([d.shown for d in designs if d is not design]).unique(dim=0), scores)
        left = torch.from_numpy(scores(design.shown)) - smooth(design.shown)
        found.append(smooth.shapley() + shapley_fit(Played(design, left[None])).coef[0])
    return torch.stack(found).mean(0)


@dataclass(frozen=True, slots=True)
class Smooth:
    """f(S) = mean + Σ_T a_T ρ^|S△T|, through known coalitions T."""

    known: Tensor
    a: Tensor
    mean: float
    near: float

    @staticmethod
    def through(known: Tensor, scores: Scores) -> Smooth:
        y, near = torch.from_numpy(scores(known)), math.exp(-2 / scores.players)
        mean = float(y.mean())
        a = torch.linalg.solve(alike(known, known, near) + 0.03 * torch.eye(len(y)).double(), y - mean)
        return Smooth(known, a, mean, near)

    def __call__(self, shown: Tensor) -> Tensor:
        return self.mean + alike(shown, self.known, self.near) @ self.a

    def shapley(self) -> Tensor:
        return self.a @ shapley_of_powers(self.known, self.near)


def alike(a: Tensor, b: Tensor, near: float) -> Tensor:
    """ρ^|S△T|, [coalitions of a, coalitions of b]."""
    a, b = a.double(), b.double()
    return near ** (a.sum(1)[:, None] + b.sum(1) - 2 * a @ b.mT)


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one photo: the squared errors of every name, [seed, player], and its calls."""

    squares: Mapping[str, Tensor]
    calls: Mapping[str, int]

    @staticmethod
    def of(
        scores: Scores, who: dict[str, tuple[Estimate, int]], seeds: int, truth: Callable[[Scores], Tensor]
    ) -> Errors:
        true = truth(scores)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {name: [estimate(scores, seed) for seed in range(seeds)] for name, (estimate, _) in who.items()}
        squares = {name: (torch.stack(values) - true).square() for name, values in found.items()}
        return Errors(squares, {name: calls for name, (_, calls) in who.items()})

    def rms(self, name: str, at: tuple[Tensor, Tensor] | None = None) -> float:
        squares = self.squares[name]
        return float((squares if at is None else squares[at[0]][:, at[1]]).mean().sqrt())

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
the top class's probability, against a long run: LIME's own regression on {long} coalitions, which columns of Hadamard
matrices make worth more than {coins} coins, {times} times what `lime` has; for Shapley values {parts} coalitions, of
which a smooth function takes what it can and least squares the rest. The calls at which our error is that of a peer
with {peers} are read off the lines between the logarithms of ours, beyond 500 off the last of them, ± half of a 68 %
interval over seeds and superpixels."""


def tables(seeds: int = 4, folder: Path | None = None) -> list[str]:
    """Ask everything; the lines of the section."""
    with tempfile.TemporaryDirectory() as temporary:
        asked = games(folder or Path(temporary))
        players = " to ".join(str(f(one.players for one in asked.values())) for f in (min, max))
        says = SAYS.format(
            players=players,
            seeds=seeds,
            peers=PEERS,
            long=f"{LONG:,}",
            coins=f"{2 * LONG:,}",
            times=2 * LONG // PEERS,
            parts=f"{PARTS * PART:,}",
        )
        lines = ["## Calls that an error takes", "", says, ""]
        for title, who, truth in (("LIME", LIMES, lime_truth), ("Shapley values", SHAPLEYS, shapley_truth)):
            errors = {name: Errors.of(one, who, seeds, truth) for name, one in asked.items()}
            lines += [*_errors(title, errors), "", *_reached(title, errors), ""]
        return lines


def _errors(title: str, errors: Mapping[str, Errors]) -> list[str]:
    calls = next(iter(errors.values())).calls
    lines = [f"| {title}: error | calls | {' | '.join(errors)} |", "|---|--:|" + "--:|" * len(errors)]
    for name, count in calls.items():
        each = [f"{one.rms(name) * 1e3:.2f}" for one in errors.values()]
        lines.append(f"| {_kind(name)} | {count} | {' | '.join(each)} |")
    return lines


def _reached(title: str, errors: Mapping[str, Errors]) -> list[str]:
    calls = next(iter(errors.values())).calls
    lines = [f"| {title}: calls for the error of {PEERS} | {' | '.join(errors)} | aim | |"]
    lines.append("|---|" + "--:|" * (len(errors) + 1) + "---|")
    for peer in (name for name in calls if name == _kind(name)):
        for kind in dict.fromkeys(_kind(name) for name in calls if name != _kind(name)):
            own = [f"{kind}, {n}" for n in CALLS]
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
