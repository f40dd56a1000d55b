"""Five methods judged by four metrics on four photos, beside the same work done by Quantus and Captum.

    python -m benchmarks.metrics                       everything, and the table; takes many minutes
    python -m benchmarks.metrics FILE ours             one piece: its cost goes into FILE
    python -m benchmarks.metrics FILE fidelity 4       one metric of a peer, of one method
    python -m benchmarks.metrics FILE                  the table of the pieces in FILE

Either side has the same maps, and the same number of steps and of samples; subsets hide the same share, and infidelity
hides random subsets too. Quantus has no insertion: it is given the map turned round, which takes away what matters
least first and, read backwards, is an insertion onto its fill. What a peer does for a method does not depend on the
map: of methods that were not run, the cost is the mean of the others. Needs `quantus`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import pellucid
from benchmarks.cases import CLASS, photos
from pellucid.methods.cam import GradCAM
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.metrics import Deletion, FidelityCorrelation, Infidelity, Insertion
from pellucid.ops.resize import resize

PHOTOS, STEPS, SAMPLES, SHARE, AT_ONCE = 4, 12, 512, 0.2, 8
METHODS = (Gradient(), InputXGradient(), IntegratedGradients(steps=8), SmoothGrad(samples=4), GradCAM())
PEERS = {"deletion": "Quantus", "insertion": "Quantus", "fidelity": "Quantus", "infidelity": "Captum"}
CALLS, TIME = 1 / 8, 1 / 6
"""The ratios aimed at."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece took: calls of the model, rows of all of them, and time."""

    calls: int
    rows: int
    seconds: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.rows + other.rows, self.seconds + other.seconds)


@contextmanager
def counting(net: nn.Module, found: list[Cost]) -> Generator[None]:
    """Calls and rows of a model as it stands, and the time."""
    calls: list[int] = []
    hook = net.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    start = time.perf_counter()
    try:
        yield
    finally:
        hook.remove()
        found.append(Cost(len(calls), sum(calls), time.perf_counter() - start))


class Bench:
    """The model, the photos, and the maps that are judged; making those is not part of the comparison."""

    def __init__(self, samples: int = SAMPLES, steps: int = STEPS) -> None:
        self.samples, self.steps = samples, steps
        self.handle: Any = pellucid.load("efficientnet_lite0")
        self.x = photos(self.handle, PHOTOS)
        self.maps = pellucid.explain(self.handle, self.x, METHODS, target=CLASS)

    def ours(self) -> Cost:
        """All metrics of all methods in one call; the faster twin is built in it, and that counts."""
        metrics = [
            Deletion(steps=self.steps),
            Insertion(steps=self.steps, fill="mean"),
            FidelityCorrelation(samples=self.samples, hidden=SHARE, regions="pixels"),
            Infidelity(samples=self.samples, hidden=SHARE, regions="pixels", perturb="subsets"),
        ]
        start = time.perf_counter()
        passes = pellucid.measure(self.handle, self.maps, metrics, inputs=self.x)[0].passes
        return Cost(passes.calls, passes.forward, time.perf_counter() - start)

    def theirs(self, metric: str, method: int) -> Cost:
        """One metric of one method by its peer."""
        found: list[Cost] = []
        a, net = self.wide(self.maps[method]), self.handle.module.eval()
        if metric == "infidelity":
            for photo, map_ in zip(self.x.split(1), torch.from_numpy(a).split(1), strict=True):
                with counting(net, found):
                    infidelity(net, photo, map_, self.samples)
            return sum(found, Cost(0, 0, 0.0))
        made, x, y = self.quantus(metric), self.x.numpy(), np.full(len(self.x), CLASS)
        with counting(net, found):
            made(
                model=net,
                x_batch=x,
                y_batch=y,
                a_batch=-a if metric == "insertion" else a,
                softmax=True,
                device="cpu",
            )
        return found[0]

    def quantus(self, metric: str) -> Any:
        """A metric of Quantus. Steps divide the places of a photo, and three times as many its numbers: 12, 24."""
        import quantus  # pyright: ignore[reportMissingImports] - not among the extras

        size = self.x[0].numel()
        quiet: dict[str, Any] = {
            "abs": False,
            "normalise": False,
            "disable_warnings": True,
            "display_progressbar": False,
        }
        if metric == "fidelity":
            return quantus.FaithfulnessCorrelation(
                nr_runs=self.samples, subset_size=int(SHARE * size), return_aggregate=False, **quiet
            )
        return quantus.PixelFlipping(features_in_step=size // self.steps, return_auc_per_sample=False, **quiet)

    def wide(self, e: Any) -> NDArray[np.float32]:
        """A map at the size of the photos, with their channels."""
        values = e.values.detach().double()
        if values.ndim == 3:
            values = resize(values, (self.x.shape[-2], self.x.shape[-1]))[:, None]
        return values.expand_as(self.x).float().contiguous().numpy()


def infidelity(net: nn.Module, x: Tensor, a: Tensor, samples: int) -> Tensor:
    """Captum's on one photo, hiding random subsets of the pixels behind the mean colour.

    Of four photos at once it would ask for the clean rows four times as often.
    """
    from captum.metrics import infidelity as measure

    draw = torch.Generator().manual_seed(0)

    def subsets(rows: Tensor) -> tuple[Tensor, Tensor]:
        hidden = (torch.rand((len(rows), 1, *rows.shape[2:]), generator=draw) < SHARE).to(rows)
        noise = hidden * (rows - rows.mean((2, 3), keepdim=True))
        return noise, rows - noise

    forward: Callable[[Tensor], Tensor] = lambda rows: torch.softmax(net(rows), 1)  # noqa: E731
    return measure(forward, subsets, x, a, target=CLASS, n_perturb_samples=samples, max_examples_per_batch=AT_ONCE)


# -- pieces and their sum --------------------------------------------------------------------------------------


def pieces(bench: Bench, methods: Sequence[int] = range(len(METHODS))) -> dict[str, Cost]:
    """All of them."""
    found = {"ours": bench.ours()}
    return found | {f"{metric} {method}": bench.theirs(metric, method) for metric in PEERS for method in methods}


def whole(found: dict[str, Cost], metric: str) -> Cost:
    """A peer's metric of all methods, from those that were run."""
    mine = [cost for name, cost in found.items() if name.startswith(f"{metric} ")]
    share = len(METHODS) / len(mine)
    total = sum(mine, Cost(0, 0, 0.0))
    return Cost(round(total.calls * share), round(total.rows * share), total.seconds * share)


def table(found: dict[str, Cost], samples: int, steps: int) -> list[str]:
    """Calls, rows and time, and their ratios."""
    mine = found["ours"]
    others = {f"{peer}, {metric}": whole(found, metric) for metric, peer in PEERS.items()}
    every = sum(others.values(), Cost(0, 0, 0.0))
    lines = [f"## Metrics: {len(METHODS)} methods × 4 metrics, {PHOTOS} photos, {steps} steps, {samples} samples", ""]
    lines += ["| what | calls of the model | rows | seconds |", "|---|--:|--:|--:|"]
    for name, cost in {"ours, all in one call": mine, **others, "peers together": every}.items():
        lines.append(f"| {name} | {cost.calls} | {cost.rows} | {cost.seconds:.1f} |")
    ratios = mine.calls / every.calls, mine.rows / every.rows, mine.seconds / every.seconds
    lines.append("| ratio | " + " | ".join(f"{ratio:.3f}" for ratio in ratios) + " |")
    return [*lines, f"| aim | ≤ {CALLS:.3f} | | ≤ {TIME:.3f} |", ""]


def tables() -> list[str]:
    """Everything, for `python -m benchmarks`; the time of a peer's metric is that of two methods, the others alike."""
    bench = Bench()
    return table(pieces(bench, (0, len(METHODS) - 1)), bench.samples, bench.steps)


def kept(file: Path) -> dict[str, Any]:
    """What was found before."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def main(words: Sequence[str]) -> None:
    """A piece, the table of pieces, or everything."""
    torch.set_num_threads(2)
    if not words:
        bench = Bench()
        print("\n".join(table(pieces(bench), bench.samples, bench.steps)))
        return
    file, piece = Path(words[0]), words[1:]
    found = kept(file)
    if not piece:
        print("\n".join(table({name: Cost(**one) for name, one in found.items()}, SAMPLES, STEPS)))
        return
    bench = Bench()
    found[" ".join(piece)] = asdict(bench.ours() if piece[0] == "ours" else bench.theirs(piece[0], int(piece[1])))
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(piece, found[" ".join(piece)])


if __name__ == "__main__":
    main(sys.argv[1:])
