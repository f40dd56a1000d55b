"""Five methods judged by four metrics on four photos, beside the same work done by Quantus and Captum.

`python -m benchmarks.metrics [SAMPLES]` prints the table; a few samples show that everything runs. Needs `quantus`.

Either side has the same maps, the same number of steps and of samples. Quantus has no insertion: it is given the map
turned round, which takes away what matters least first and, read backwards, is an insertion onto its fill.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

PHOTOS, STEPS, SQUARE, SHARE = 4, 24, 56, 0.2
CALLS, TIME = 1 / 8, 1 / 6
"""The ratios aimed at. Quantus takes steps that divide the pixels: 24, or 3, of three channels."""


@dataclass(slots=True)
class Cost:
    """What a side took."""

    calls: int = 0
    rows: int = 0
    seconds: float = 0.0


@contextmanager
def counting(net: nn.Module) -> Generator[Cost]:
    """Calls and rows of a model as it stands, and the time."""
    cost, start = Cost(), time.perf_counter()

    def seen(_: nn.Module, given: tuple[Any, ...]) -> None:
        cost.calls += 1
        cost.rows += len(given[0])

    hook = net.register_forward_pre_hook(seen)
    try:
        yield cost
    finally:
        hook.remove()
        cost.seconds = time.perf_counter() - start


def explained(handle: Any, x: Tensor) -> Any:
    """The maps that are judged; not part of the comparison."""
    some = [Gradient(), InputXGradient(), IntegratedGradients(steps=8), SmoothGrad(samples=4), GradCAM()]
    return pellucid.explain(handle, x, some, target=CLASS)


def ours(handle: Any, x: Tensor, maps: Any, samples: int, steps: int) -> Cost:
    """One call."""
    metrics = [
        Deletion(steps=steps),
        Insertion(steps=steps),
        FidelityCorrelation(samples=samples, hidden=SHARE, regions="pixels"),
        Infidelity(samples=max(2, samples // 4), window=SQUARE),
    ]
    start = time.perf_counter()
    passes = pellucid.measure(handle, maps, metrics, inputs=x)[0].passes
    return Cost(passes.calls, passes.forward, time.perf_counter() - start)


def theirs(net: nn.Module, x: Tensor, maps: Any, samples: int, steps: int) -> dict[str, Cost]:
    """One metric after the other, one method after the other."""
    import quantus  # pyright: ignore[reportMissingImports] - not among the extras

    features = x[0].numel()
    quiet: dict[str, Any] = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}
    flipping = quantus.PixelFlipping(features_in_step=features // steps, return_auc_per_sample=False, **quiet)
    fidelity = quantus.FaithfulnessCorrelation(
        nr_runs=samples, subset_size=int(SHARE * features), return_aggregate=False, **quiet
    )
    found: dict[str, Cost] = {}
    for name, metric, sign in (("deletion", flipping, 1), ("insertion", flipping, -1), ("fidelity", fidelity, 1)):
        with counting(net) as cost:
            for a in each(maps, x):
                metric(
                    model=net,
                    x_batch=x.numpy(),
                    y_batch=np.full(len(x), CLASS),
                    a_batch=sign * a,
                    softmax=True,
                    device="cpu",
                )
        found[f"Quantus, {name}"] = cost
    with counting(net) as cost:
        for a in each(maps, x):
            infidelity(net, x, torch.from_numpy(a), max(2, samples // 4))
    found["Captum, infidelity"] = cost
    return found


def infidelity(net: nn.Module, x: Tensor, a: Tensor, samples: int) -> Tensor:
    """Captum's, hiding random squares."""
    from captum.metrics import infidelity as measure

    draw = torch.Generator().manual_seed(0)

    def squares(rows: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.zeros_like(rows)
        for one, row in zip(noise, rows, strict=True):
            top, left = torch.randint(0, row.shape[-1] - SQUARE + 1, (2,), generator=draw).tolist()
            one[:, top : top + SQUARE, left : left + SQUARE] = row[:, top : top + SQUARE, left : left + SQUARE]
        return noise, rows - noise

    forward: Callable[[Tensor], Tensor] = lambda rows: torch.softmax(net(rows), 1)  # noqa: E731
    return measure(forward, squares, x, a, target=CLASS, n_perturb_samples=samples, max_examples_per_batch=32)


def each(maps: Any, x: Tensor) -> Iterator[NDArray[np.float32]]:
    """Every map at the size of the photos, with their channels."""
    for e in maps:
        values = e.values.detach().double()
        if values.ndim == 3:
            values = resize(values, (x.shape[-2], x.shape[-1]))[:, None]
        yield values.expand_as(x).float().contiguous().numpy()


def tables(samples: int = 256, steps: int = STEPS) -> list[str]:
    """Calls, rows and time, and their ratios."""
    handle: Any = pellucid.load("efficientnet_lite0")
    x = photos(handle, PHOTOS)
    maps = explained(handle, x)
    ours(handle, x, maps, 4, 2)  # warm
    mine, others = ours(handle, x, maps, samples, steps), theirs(handle.module.eval(), x, maps, samples, steps)
    peers = [*others.values()]
    whole = Cost(sum(c.calls for c in peers), sum(c.rows for c in peers), sum(c.seconds for c in peers))
    lines = [f"## Metrics: {len(maps)} methods × 4 metrics on {PHOTOS} photos, {steps} steps, {samples} samples", ""]
    lines += ["| what | calls | rows | seconds |", "|---|--:|--:|--:|"]
    for name, cost in {"ours, all in one call": mine, **others, "peers together": whole}.items():
        lines.append(f"| {name} | {cost.calls} | {cost.rows} | {cost.seconds:.1f} |")
    ratios = mine.calls / whole.calls, mine.rows / whole.rows, mine.seconds / whole.seconds
    lines.append("| ratio | " + " | ".join(f"{ratio:.3f}" for ratio in ratios) + " |")
    lines.append(f"| aim | {CALLS:.3f} | | {TIME:.3f} |")
    return [*lines, ""]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(2)
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    print("\n".join(tables(samples, STEPS if samples >= 64 else 3)))


if __name__ == "__main__":
    main()
