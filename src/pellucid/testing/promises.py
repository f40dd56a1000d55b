"""What a call promises: nothing left behind, passes as planned, memory that may end, results that can be kept."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid import api
from pellucid.core import store
from pellucid.core.errors import OutOfMemory
from pellucid.core.explanation import Explanation
from pellucid.core.method import Method
from pellucid.testing.answers import explained
from pellucid.testing.ensure import NotApplicable, NotConforming, ensure, ensure_close, ensure_equal
from pellucid.testing.state import Snapshot
from pellucid.testing.tiny import Tiny


class Watch:
    """Counts the rows and calls of a model, and breaks it at will."""

    def __init__(self) -> None:
        self.rows = self.calls = self.failures = 0
        self.fail_at: int | None = None
        self.error: BaseException = RuntimeError("broken on purpose")
        self.most_rows: int | None = None
        self.memory_error: BaseException = torch.OutOfMemoryError("out of memory on purpose")

    def see(self, rows: int) -> None:
        """Called before every pass of the model."""
        self.calls += 1
        if self.calls == self.fail_at:
            raise self.error
        if self.most_rows is not None and rows > self.most_rows:
            self.failures += rows
            raise self.memory_error
        self.rows += rows


def watched(module: nn.Module, watch: Watch) -> nn.Module:
    """The module itself, under a watch from now on, as are all copies of it."""

    def before(_: nn.Module, args: tuple[Any, ...]) -> None:
        watch.see(len(args[0]))

    module.register_forward_pre_hook(before)
    return module


@contextmanager
def unchanged(module: nn.Module, *tensors: Tensor) -> Generator[None]:
    """Raise NotConforming when the module, the tensors or the process are not as before, whatever happened within."""
    before = Snapshot.of(module, *tensors)
    try:
        yield
    finally:
        changes = before.changes()
        if changes:
            raise NotConforming(f"changed: {'; '.join(changes[:6])}", "everything as it was before the call")


def with_gradients(module: nn.Module) -> nn.Module:
    """Put a gradient of ones on every parameter, so that one that is cleared or added to is seen."""
    for parameter in module.parameters():
        if parameter.is_leaf and parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    return module


def leaves_nothing_behind(method: Method, model: Tiny) -> None:
    """After a call the model, the rows and the process are as before."""
    with_gradients(model.module)
    with unchanged(model.module, model.x):
        explained(method, model)


def failures_leave_nothing_behind(method: Method, model: Tiny) -> None:
    """After an exception and after KeyboardInterrupt at any pass of the model, everything is as before."""
    for error in (RuntimeError("broken on purpose"), KeyboardInterrupt()):
        fails_cleanly([method], model, error)


def fails_cleanly(methods: list[Method], model: Tiny, error: BaseException, rows: Any = 2) -> int:
    """Break the model at its k-th pass, for every k; returns how many passes there were."""
    watch = Watch()
    net = with_gradients(watched(model.module, watch))
    api.explain(api.wrap(net, rows=rows), model.x, methods, target=0)
    passes = watch.calls
    ensure(passes > 0, "the model was never run")
    for k in range(1, passes + 1):
        watch.calls, watch.fail_at, watch.error = 0, k, error
        with unchanged(net, model.x):
            try:
                api.explain(api.wrap(net, rows=rows), model.x, methods, target=0)
            except type(error) as caught:
                ensure(caught is error or caught.__cause__ is error, f"{caught!r} instead of the model's own error")
            else:
                raise NotConforming(f"an error in pass {k} of the model was swallowed")
    return passes


def passes_are_planned(method: Method, model: Tiny) -> None:
    """The record counts the rows that the model really ran, and the plan said so before."""
    watch = Watch()
    net = watched(model.module, watch)
    for rows in ("auto", 2):
        watch.rows, handle = 0, api.wrap(net, rows=rows)
        planned = api.plan(handle, model.x, [method], target=0)
        ensure(
            watch.rows == planned.verification, f"the plan ran {watch.rows} rows", f"{planned.verification}, as said"
        )
        watch.rows = 0
        e = api.explain(handle, model.x, [method], target=0)[0]
        spent = e.record.passes
        ran = spent.forward + spent.verification + spent.retried
        ensure(watch.rows == ran, f"the model ran {watch.rows} rows, the record counts {ran}")
        for name in ("rounds", "forward", "backward", "calls"):
            low, did, high = (getattr(p, name) for p in (planned.least, spent, planned.most))
            ensure(low <= did <= high, f"{name}: {did}", f"{low} to {high}, as planned with rows={rows}")


def memory_may_end(method: Method, model: Tiny) -> None:
    """Where more than two rows do not fit, the answer is the same; where one does not, an error says so."""
    if "stochastic" in model.traits:
        raise NotApplicable("the model draws random numbers")
    wanted = explained(method, model).values
    allocator = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
    watch = Watch()
    watch.most_rows, net = 2, watched(model.module, watch)
    for error in (torch.OutOfMemoryError("out of memory on purpose"), allocator):
        watch.memory_error, watch.failures = error, 0
        e = api.explain(api.wrap(net), model.x, [method], target=0)[0]
        ensure_close(e.values, wanted, "with memory for two rows")
        retried = e.record.passes.retried
        ensure(retried == watch.failures, f"{retried} rows recorded as retried", f"{watch.failures}, which failed")
    watch.most_rows = 0
    try:
        api.explain(api.wrap(net), model.x, [method], target=0)
    except (OutOfMemory, torch.OutOfMemoryError, RuntimeError) as error:
        ensure(isinstance(error, OutOfMemory), f"{type(error).__name__} where no row fits", "OutOfMemory")
    else:
        raise NotConforming("an explanation although no row fits into memory")


def can_be_kept(method: Method, model: Tiny) -> None:
    """Saved and loaded, nothing differs by a bit; the parameters can be written as JSON."""
    e = explained(method, model)
    json.dumps(asdict(e.record), allow_nan=False)
    with tempfile.TemporaryDirectory() as folder:
        back = store.load(store.save(e, Path(folder) / "kept"))[0]
    same_explanation(back, e)


def same_explanation(got: Explanation, wanted: Explanation) -> None:
    """Equal in every field, tensors bit by bit."""
    ensure_equal(got.values, wanted.values, "values")
    for name in ("dims", "kind", "target", "prediction", "checks"):
        ensure(repr(getattr(got, name)) == repr(getattr(wanted, name)), f"{name}: {getattr(got, name)}")
    ensure(asdict(got.record) == json.loads(json.dumps(asdict(wanted.record))) or _alike(got, wanted), "the record")
    ensure((got.std_error is None) == (wanted.std_error is None), "standard errors appear or vanish")
    if got.std_error is not None and wanted.std_error is not None:
        ensure_equal(got.std_error, wanted.std_error, "standard errors")
    ensure(set(got.extras) == set(wanted.extras), "the names of the extras")
    for name, tensor in wanted.extras.items():
        ensure_equal(got.extras[name], tensor, f"extra {name}")


def _alike(got: Explanation, wanted: Explanation) -> bool:
    return repr(got.record) == repr(wanted.record)


def in_two_threads(first: Any, second: Any, times: int = 5) -> tuple[list[Any], list[Any]]:
    """Run two functions at once, again and again; results and errors of both."""
    found: tuple[list[Any], list[Any]] = ([], [])
    start = threading.Barrier(2)

    def work(do: Any, into: list[Any]) -> None:
        start.wait()
        for _ in range(times):
            try:
                into.append(do())
            except Exception as error:  # noqa: BLE001 - handed to the caller
                into.append(error)

    threads = [threading.Thread(target=work, args=(do, into)) for do, into in zip((first, second), found, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
