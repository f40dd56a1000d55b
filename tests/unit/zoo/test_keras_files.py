"""Files that Keras has saved: the same model comes back, and nothing in them runs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.adapters.keras_nets import L, keras, shaken  # isort: skip

import pellucid
from pellucid.core.errors import InputError


def net(*before: Any, channels: int = 3) -> Any:
    inside = [L.Conv2D(4, 3, activation="relu", name="c"), L.GlobalAveragePooling2D(), L.Dense(3)]
    return shaken(keras.Sequential([L.Input((12, 10, channels)), *before, *inside]))


def saved(model: Any, folder: Path) -> str:
    model.save(folder / "net.keras")
    return f"keras:{folder / 'net.keras'}"


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def test_the_model_comes_back_and_takes_photos_of_its_size(tmp_path: Path) -> None:
    model = net()
    states = random.getstate(), torch.get_rng_state()
    handle = pellucid.load(saved(model, tmp_path))
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    found = pellucid.explain(handle, photo(), ["gradient", "grad_cam"], target=1)
    assert found[0].values.shape == (1, 3, 12, 10) and found[1].record.at == "c"
    x = handle.preprocess.rows([pellucid.images.read(photo())]).permute(0, 2, 3, 1)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    wanted = pellucid.explain(model, x, ["gradient"], target=1)[0]
    torch.testing.assert_close(found[0].values, wanted.values)


@pytest.mark.parametrize(("layer", "channels", "most"), [("Rescaling", 3, 255), (None, 1, 1)])
def test_pixels_are_scaled_as_the_model_begins(layer: str | None, channels: int, most: int, tmp_path: Path) -> None:
    handle = pellucid.load(saved(net(*[L.Rescaling(1 / 255)] * (layer is not None), channels=channels), tmp_path))
    row = handle.preprocess.rows([pellucid.images.read(photo())])
    assert row.shape == (1, channels, 12, 10) and most / 2 < float(row.max()) <= most


def test_a_lambda_is_refused_and_the_way_out_is_told(tmp_path: Path) -> None:
    name = saved(net(L.Lambda(lambda x: x * 2.0)), tmp_path)
    with pytest.raises(InputError, match="pass the model") as refused:
        pellucid.load(name)
    assert "Lambda" in str(refused.value)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    """A configuration that names a function of the system instead of a layer."""
    name = saved(net(), tmp_path)
    file, mark = tmp_path / "net.keras", tmp_path / "ran"
    with zipfile.ZipFile(file) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    config = json.loads(parts["config.json"])
    evil = {"module": "os", "class_name": "system", "registered_name": "system", "config": {"command": f"touch {mark}"}}
    config["config"]["layers"][1] = evil
    with zipfile.ZipFile(file, "w") as archive:
        for one, what in (parts | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(one, what)
    with pytest.raises(InputError, match="cannot be read"):
        pellucid.load(name)
    assert not mark.exists()


def test_other_files_and_no_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"")
    for name in (tmp_path / "net.h5", tmp_path / "none.keras", tmp_path):
        with pytest.raises(InputError, match=r"FILE\.keras"):
            pellucid.load(f"keras:{name}")
    with pytest.raises(InputError, match="comes with its weights"):
        pellucid.load(saved(net(), tmp_path), pretrained=False)


def test_where_no_keras_runs_it_is_started_on_torch(tmp_path: Path) -> None:
    name = saved(net(), tmp_path)
    script = f"import os, pellucid; print(type(pellucid.load({name!r})).__name__, 'KERAS_BACKEND' in os.environ)"
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["KerasModel", "False"], done.stderr


def test_on_the_command_line(tmp_path: Path) -> None:
    name = saved(net(), tmp_path)
    pellucid.images.read(photo()).image().save(tmp_path / "p.png")
    command = ["explain", name, str(tmp_path / "p.png"), "-m", "lrp,grad_cam", "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "pellucid", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "out").iterdir())
