"""The same numbers on an accelerator as on the CPU. Skipped where there is none."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch

import pellucid
from pellucid import registry
from pellucid.core.errors import InputError, ParameterError, UnsupportedModel
from pellucid.testing import tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")

MODELS = ("linear_rows", "smooth", "convnet", "convnet_functional", "convnet_inplace", "vit")
SMALL = {"samples": 32, "steps": 8}


def small(name: str) -> Any:
    """A method with few samples."""
    known = {f.name for f in fields(registry.find(name))}
    return registry.make(name, {k: v for k, v in SMALL.items() if k in known})


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("model", MODELS)
def test_an_accelerator_gives_the_same_numbers(model: str, name: str) -> None:
    here, there = tiny(model), tiny(model)
    module, x = there.module.double().cuda(), there.x.double().cuda()
    try:
        expected = pellucid.explain(here.module.double(), here.x.double(), small(name), target=[0, 1])
    except (InputError, ParameterError, UnsupportedModel) as error:
        pytest.skip(f"{name} is not for {model}: {error}")
    got = pellucid.explain(module, x, small(name), target=[0, 1])
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.values.device.type == "cuda"
        mine = ours.values.cpu()
        assert mine.shape == theirs.values.shape
        scale = float(theirs.values.abs().max()) or 1.0
        assert float((mine - theirs.values).abs().max()) <= 1e-9 * scale
        assert [c.name for c in ours.checks] == [c.name for c in theirs.checks]
        assert [c.passed for c in ours.checks] == [c.passed for c in theirs.checks]
    assert all(p.device.type == "cuda" for p in module.parameters())
    assert all(p.grad is None for p in module.parameters())


def test_too_many_rows_are_halved_until_they_fit() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 256, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(2)).cuda()

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x).mean(2)[:, :4]

    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(0, free - 3 * 2**30), dtype=torch.uint8, device="cuda")  # leaves three gigabytes
    try:
        model = pellucid.wrap(Head(), rows=512)
        (got,) = pellucid.explain(model, torch.rand(1, 3, 224, 224).cuda(), pellucid.SmoothGrad(samples=512), target=0)
    finally:
        del ballast
        torch.cuda.empty_cache()
    assert got.record.passes.retried > 0
    assert bool(got.values.isfinite().all())
