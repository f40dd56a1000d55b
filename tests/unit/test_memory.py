"""Memory is bounded: measured in processes of their own, by the high-water mark of the resident set."""

from __future__ import annotations

import subprocess
import sys

import pytest

IG = """
from pathlib import Path
import torch
torch.set_num_threads(1)
import pellucid

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

model = pellucid.load("efficientnet_lite0")
x = model.preprocess.rows(pellucid.zoo.sample_photos()[:1])
with torch.inference_mode():
    model.module(x)
before = peak()
pellucid.explain(model, x, pellucid.IntegratedGradients(steps={steps}), target=285)
print(peak() - before)
"""

STREAM = """
import tempfile
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
import pellucid
from pellucid import api

api.waves.WAVE = 8 * 2**20
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(64, 5)
)
model = pellucid.wrap(net, pellucid.Preprocess(crop=96))
methods = ["gradient", "input_x_gradient", "grad_cam"]
methods += [pellucid.SmoothGrad(samples=2), pellucid.IntegratedGradients(steps=2)]

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

def photos(count):
    draw = np.random.default_rng(0)
    return (draw.integers(0, 255, (96, 96, 3), dtype=np.uint8) for _ in range(count))

with tempfile.TemporaryDirectory() as folder:
    pellucid.explain(model, photos(40), methods, save=Path(folder) / "few")
    before = peak()
    got = pellucid.explain(model, photos(400), methods, save=Path(folder) / "many")
    print(peak() - before, len(got), len(got[0]))
"""

MASKS = """
from pathlib import Path
import torch
torch.set_num_threads(1)
import pellucid

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

net = torch.nn.Sequential(torch.nn.AvgPool2d(32), torch.nn.Flatten(), torch.nn.Linear(147, 10))
x = torch.rand(1, 3, 224, 224)
for samples in (500, 10_000):
    before = peak()
    pellucid.explain(net, x, pellucid.LIME(samples=samples), target=0)
    print(peak() - before)
"""

BACKGROUNDS = """
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
import pellucid

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

draw = np.random.default_rng(0)
rows, weights = draw.normal(size=(50, 120)), draw.normal(size=120)
model = pellucid.wrap(lambda x: np.tanh(x @ weights)[:, None], pellucid.Table.of(rows, background=rows[:40]))
pellucid.explain(model, rows[:1], pellucid.KernelSHAP(samples=1_000))
before = peak()
pellucid.explain(model, rows[:1], pellucid.KernelSHAP(samples=10_000))
print(peak() - before)
"""


def run(program: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


@pytest.mark.slow
def test_two_hundred_steps_of_integrated_gradients_stay_under_half_a_gigabyte() -> None:
    (grown,) = run(IG.replace("{steps}", "200"))
    assert grown < 500


@pytest.mark.slow
def test_ten_times_the_photos_stream_to_disk_without_more_memory() -> None:
    """Kept in memory, 360 photos x 4 maps of 108 kB would add 155 MiB."""
    grown, entries, images = run(STREAM)
    assert (entries, images) == (5, 400)
    assert grown < 60


@pytest.mark.slow
def test_ten_times_the_samples_need_no_more_memory() -> None:
    """Held at once, 10,000 pictures of 224² would be 6 GB, and their masks as bytes half a gigabyte."""
    few, many = run(MASKS)
    assert few < 500 and many < 60


def test_rows_before_many_backgrounds_are_never_there_at_once() -> None:
    """10,000 coalitions before 40 backgrounds, 120 columns each: 384 MB."""
    (grown,) = run(BACKGROUNDS)
    assert grown < 150
