"""Peak memory of one call, each in a process of its own: growth of the resident set over what the model alone takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import pellucid


def cases() -> dict[str, Callable[[pellucid.api.TorchModel, torch.Tensor], object]]:
    """What is measured, by name."""
    from pellucid.methods.integrated_gradients import IntegratedGradients
    from pellucid.methods.smooth_grad import SmoothGrad

    def captum_ig(handle: pellucid.api.TorchModel, x: torch.Tensor) -> object:
        import captum.attr as ca

        return ca.IntegratedGradients(handle.module).attribute(x, target=285, n_steps=50)

    return {
        "pellucid IG, 50 steps": lambda h, x: pellucid.explain(h, x, IntegratedGradients(steps=50), target=285),
        "pellucid IG, 200 steps": lambda h, x: pellucid.explain(h, x, IntegratedGradients(steps=200), target=285),
        "pellucid SmoothGrad, 50 samples": lambda h, x: pellucid.explain(h, x, SmoothGrad(samples=50), target=285),
        "Captum IG, 50 steps, default": captum_ig,
    }


def measure(name: str) -> float:
    """MiB of growth, in a fresh process."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory", name], capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def main(name: str) -> None:
    """Measure one case in this process."""
    torch.set_num_threads(2)
    handle = pellucid.load("efficientnet_lite0")
    x = handle.preprocess.rows(pellucid.zoo.sample_photos()[:1])
    with torch.inference_mode():
        handle.module(x)
    before = peak()
    cases()[name](handle, x)
    print(peak() - before)


def peak() -> float:
    """Largest resident set of this process so far, MiB. (getrusage would give a parent's.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main(sys.argv[1])
