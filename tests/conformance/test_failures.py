"""What breaks in the middle of something leaves nothing half done: memory, forks, kills."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from pellucid import api
from pellucid.core.errors import OutOfMemory
from pellucid.methods.gradient import Gradient
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad
from pellucid.testing import Watch, tiny, watched
from pellucid.testing.promises import unchanged, with_gradients

SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError(
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input."
    ),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=["cuda", "cpu", "cudnn"])
@pytest.mark.parametrize("name", ["convnet", "vit", "convnet_uncopyable"])
def test_memory_that_ends_at_any_one_call_changes_nothing(name: str, error: BaseException) -> None:
    """For every k, the k-th call of the model runs out of memory once: the same maps, or a clear error where one row
    does not fit; and everything is as before.
    """
    methods = [Gradient(), SmoothGrad(samples=3, seed=0), IntegratedGradients(steps=3), Occlusion(window=4, stride=4)]
    model = tiny.make(name)
    watch = Watch()
    net = with_gradients(watched(model.module, watch))
    wanted = [e.values for e in api.explain(api.wrap(net), model.x, methods, target=0)]
    calls, survived = watch.calls, 0
    assert calls > 2
    for k in range(1, calls + 1):
        watch.calls, watch.fail_at, watch.error = 0, k, error
        with unchanged(net, model.x):
            try:
                got = [e.values for e in api.explain(api.wrap(net), model.x, methods, target=0)]
            except OutOfMemory:
                continue
        survived += 1
        for one, right in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, right, rtol=1e-9, atol=1e-12)
    assert survived > 0


def script(body: str, *words: object, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """A program of its own."""
    here = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", textwrap.dedent(body), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=here, check=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_is_refused_with_advice() -> None:
    done = script("""
        import os
        from pellucid import api
        from pellucid.testing import tiny
        model = tiny.make("convnet")
        handle = api.wrap(model.module)
        api.explain(handle, model.x, "gradient", target=0)
        child = os.fork()
        if child == 0:
            try:
                api.explain(handle, model.x, "gradient", target=0)
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", len(api.explain(handle, model.x, "gradient", target=0)[0]))
    """)
    assert done.returncode == 0, done.stderr
    assert "InputError" in done.stdout and 'get_context("spawn")' in done.stdout and "parent 3" in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_before_the_first_explanation_a_fork_is_free() -> None:
    done = script("""
        import os
        from pellucid import api
        from pellucid.testing import tiny
        model = tiny.make("convnet")
        child = os.fork()
        if child == 0:
            print("child", len(api.explain(model.module, model.x, "gradient", target=0)[0]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert "child 3" in done.stdout, done.stderr


KILLED = """
    import os, random, signal, sys, time
    from dataclasses import replace
    from pathlib import Path
    import torch
    from pellucid.core.store import Shelf, load, save
    from tests.unit.core.values import made

    folder, kind = Path(sys.argv[1]), sys.argv[2]
    draw = random.Random(3)
    e = made(2, (3, 200, 200), picture=False)

    def numbered(n):
        return replace(e, values=torch.full_like(e.values, n))

    def work():
        n = 0
        while True:
            n += 1
            if kind == "file":
                save(numbered(n), folder / "kept", overwrite=True)
            else:
                shelf = Shelf.new(folder / "shelf", overwrite=True)
                for number in range(3):
                    shelf.add(number, numbered(n))

    def whole():
        if kind == "file":
            found = load(folder / "kept.safetensors") if (folder / "kept.safetensors").exists() else []
        else:
            found = load(folder / "shelf") if (folder / "shelf" / "explanations.json").exists() else []
        for one in found:
            assert one.values.shape == e.values.shape and bool((one.values == one.values.flatten()[0]).all())
        return len(found)

    seen = []
    for _ in range(25):
        child = os.fork()
        if child == 0:
            work()
        time.sleep(draw.uniform(0.002, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.append(whole())
    print("whole", seen)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_during_a_save_leaves_a_whole_file_or_none(kind: str, tmp_path: Path) -> None:
    done = script(KILLED, tmp_path, kind)
    assert done.returncode == 0, done.stderr
    assert "whole" in done.stdout and any(int(n) for n in done.stdout.partition("[")[2].rstrip("]\n").split(", "))
