"""Further defects of other libraries, by the numbers of our list, that ours do not have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid import api, registry
from pellucid.metrics import FidelityCorrelation, Monotonicity, RandomLogit, TopAgreement, TopKIntersection
from pellucid.testing import tiny

from .planted import Corner, Linear, close, explained, measured, pictures, random, tensor, weights

HOOKS = ("forward", "forward_pre", "backward", "backward_pre", "state_dict")
SOURCE = Path(pellucid.__file__).parent


def numpy_state() -> Any:
    """The words of NumPy's global random state."""
    state: Any = np.random.get_state()
    return state[1].copy()


class Fuse:
    """How often something was called, and after how many calls it fails."""

    def __init__(self) -> None:
        self.calls, self.last = 0, 10**9

    def __deepcopy__(self, _: Any) -> Fuse:
        return self  # one for a model and all copies of it


class Stops(nn.Module):
    """Fails once its fuse is through."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.fuse = inner, Fuse()

    def forward(self, x: Tensor) -> Tensor:
        self.fuse.calls += 1
        if self.fuse.calls > self.fuse.last:
            raise RuntimeError("no more")
        return self.inner(x)


def test_b9_scores_of_nearly_zero() -> None:
    """Rows whose score is zero beside rows whose score is not: none fails, and none disturbs another."""
    x, w = pictures(3), weights()
    x[1] = 0
    values = w * x + 0.01 * random(3, 3, 6, 6)
    for metric in (Monotonicity(steps=6), FidelityCorrelation(fill=0.2)):
        got = measured(metric, Linear(w), x, values)
        assert not any(got.reasons)
        alone = [measured(metric, Linear(w), x[i : i + 1], values[i : i + 1]).values[0] for i in range(3)]
        close(got.values, alone, 1e-6)


def test_b17_the_top_is_the_highest_and_not_the_first() -> None:
    """Maps whose first places are alike, and whose highest are not."""
    x, values = pictures(1, side=10), torch.full((1, 10, 10), 0.1, dtype=torch.float64)
    mask = torch.zeros(1, 10, 10, dtype=torch.bool)
    mask[0, 8] = True
    one, other = values.clone(), values.clone()
    one[0, 8, :5], other[0, 4, :5] = tensor([5.0, 4, 3, 2, 1]), tensor([5.0, 4, 3, 2, 1])
    hits = [measured(TopKIntersection(top=5), Corner(), x, v, masks=mask).values for v in (one, other)]
    assert hits == [(1.0,), (0.0,)]
    them = [explained(Corner(), x, v) for v in (one, other)]
    got = api.measure(api.wrap(Corner()), them, [TopAgreement(level=0.05)], inputs=x)
    assert [m.values for m in got] == [(0.0,), (0.0,)]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_b18_another_class_of_as_many_as_there_are(classes: int) -> None:
    draw = torch.Generator().manual_seed(1)
    head = nn.Linear(27, classes).double()
    nn.init.normal_(head.weight, generator=draw)
    handle, x = api.wrap(nn.Sequential(nn.Flatten(), head)), random(4, 3, 3, 3)
    e = api.explain(handle, x, ["input_x_gradient"], target=classes - 1)
    state = numpy_state()
    got = api.measure(handle, e, [RandomLogit(seed=s) for s in range(5)], inputs=x)
    assert not any(why for m in got for why in m.reasons)
    assert np.array_equal(state, numpy_state())


def test_b23_a_picture_is_saved_as_it_is_drawn(tmp_path: Path) -> None:
    from PIL import Image

    model = tiny.make("convnet")
    e = api.explain(api.wrap(model.module), model.x, ["gradient"])
    saved = np.asarray(Image.open(pellucid.panel(e).save(tmp_path / "panel.png")).convert("L"))
    assert saved.std() > 1
    text = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    assert "plt.show" not in text and "pyplot" not in text


def test_b24_no_memory_is_used_before_it_is_written() -> None:
    """No division that leaves gaps; and rows without a value are NaN, twice alike, whatever memory held before."""
    text = "".join(path.read_text("utf-8") for part in ("metrics", "ops") for path in (SOURCE / part).glob("*.py"))
    assert not re.search(r"\bwhere=(?!.*\bout=)(?=.*np\.)", text) and "np.empty" not in text
    x, values = pictures(3, side=8), random(3, 3, 8, 8)
    values[1] = 0
    names = [n for n in registry.metrics() if not (a := registry.find_metric(n).about).wants and not a.flat]
    handle, e = api.wrap(Corner()), explained(Corner(), x, values)
    first = api.measure(handle, e, names, inputs=x)
    torch.use_deterministic_algorithms(True, warn_only=True)  # torch then fills with NaN what nobody has written yet
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory and bool(torch.empty(3).isnan().all())
        again = api.measure(handle, e, names, inputs=x)
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b in zip(first, again, strict=True):
        assert np.isnan(a.values[1])
        close(a.values, b.values)


@pytest.mark.parametrize("name", ["deletion", "fidelity_correlation", "max_sensitivity", "random_logit"])
@pytest.mark.parametrize("after", [0, 1, 2, 4])
def test_b25_b27_a_model_that_fails_midway_is_left_as_it_was(name: str, after: int) -> None:
    """Neither hooks nor other weights stay behind, and the next call says the same as before."""
    model = tiny.make("convnet")
    module = Stops(model.module)
    handle = api.wrap(module, rows=4, evaluate="plain")
    e = api.explain(handle, model.x, ["gradient"])
    before = {key: value.clone() for key, value in module.state_dict().items()}
    fuse = module.fuse
    start = fuse.calls
    wanted = api.measure(handle, e, [name], inputs=model.x)[0].values
    assert fuse.calls > start
    if fuse.calls - start <= after:
        pytest.skip("done before")
    fuse.last = fuse.calls + after
    with pytest.raises(RuntimeError, match="no more"):
        api.measure(handle, e, [name], inputs=model.x)
    fuse.last = 10**9
    assert not any(getattr(one, f"_{kind}_hooks") for one in module.modules() for kind in HOOKS)
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in before.items())
    close(api.measure(handle, e, [name], inputs=model.x)[0].values, wanted)


def test_b29_rows_at_once_are_as_many_as_was_said() -> None:
    seen: list[int] = []

    class Counts(Corner):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return super().forward(x)

    model = Counts()
    x, values = pictures(5), random(5, 3, 6, 6)
    e = explained(model, x, values)
    most: list[int] = []
    for rows in (2, 5, 30):
        seen.clear()
        api.measure(api.wrap(model, rows=rows, evaluate="plain"), e, ["deletion", "fidelity_correlation"], inputs=x)
        most.append(max(seen))
    assert most == [2, 5, 30]


def test_b33_random_states_are_as_they_were_after_a_failure_too() -> None:
    model = tiny.make("convnet")
    module = Stops(model.module)
    handle = api.wrap(module, rows=4, evaluate="plain")
    e = api.explain(handle, model.x, ["smooth_grad"])
    np.random.seed(11)
    torch.manual_seed(12)
    before = numpy_state(), torch.get_rng_state()
    api.measure(handle, e, ["fidelity_correlation", "max_sensitivity", "seed_stability"], inputs=model.x)
    module.fuse.last = module.fuse.calls + 2
    with pytest.raises(RuntimeError, match="no more"):
        api.measure(handle, e, ["fidelity_correlation"], inputs=model.x)
    assert np.array_equal(before[0], numpy_state()) and torch.equal(before[1], torch.get_rng_state())
