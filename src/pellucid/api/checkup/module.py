"""Examinations of a torch module: its modes, wrappers, weights and activations."""

# Version counters and compiled calls of modules are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import activation
from torch.overrides import TorchFunctionMode

from pellucid.adapters import FunctionModel
from pellucid.adapters.torch import twin as twins
from pellucid.adapters.torch.model import QUANTISED
from pellucid.adapters.torch.outputs import scores as scores_of
from pellucid.api.checkup.patient import NotExamined, Patient, first_line
from pellucid.core.diagnosis import Finding

STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.modules.instancenorm._InstanceNorm)
"""Layers that behave in another way while they train."""

RECTIFIERS = {
    *(getattr(F, name) for name in ("relu", "relu6", "gelu", "silu", "elu", "leaky_relu", "hardswish", "mish")),
    *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu_, F.softplus, F.selu, F.hardtanh),
}
"""Activations as functions; the modules of torch call some of them too."""


def mode(patient: Patient) -> Iterator[Finding]:
    """Is anything still in train mode?"""
    training = [m for m in patient.module.modules() if m.training]
    if not training:
        return
    kinds = Counter(type(m).__name__ for m in training if isinstance(m, STATEFUL))
    every = sum(1 for _ in patient.module.modules())
    yield Finding(
        name="train_mode",
        severity="warning",
        says="the model is in train mode; Pellucid works on a copy in eval mode, your own predictions do not"
        + ("" if kinds else ", though no layer in it behaves differently"),
        evidence={"modules in train mode": len(training), "of": every, "that behave differently": dict(kinds)},
        fix="model.eval()",
    )


def wrappers(patient: Patient) -> Iterator[Finding]:
    """Is it wrapped, compiled or scripted?"""
    module, handle = patient.module, patient.handle
    if isinstance(handle, FunctionModel):
        raise NotExamined
    if handle.notes:
        yield Finding(
            name="wrapped",
            severity="note",
            says=f"the model is wrapped: {', '.join(handle.notes)}",
            evidence={"wrappers": len(handle.notes)},
            fix="nothing to do here; tools that use hooks need the module inside",
        )
    compiled = [n or "the model" for n, m in module.named_modules() if getattr(m, "_compiled_call_impl", None)]
    if compiled:
        yield Finding(
            name="compiled_in_place",
            severity="note",
            says="parts of the model are compiled in place; they are run eagerly for explanations",
            evidence={"parts": len(compiled), "first": compiled[0]},
            fix="nothing to do here; tools that use hooks see nothing of compiled parts",
        )
    scripted = twins.scripted(module)
    if scripted:
        yield Finding(
            name="scripted",
            severity="warning",
            says="parts of the model are TorchScript, whose operators nobody can see: no rules and no layers there",
            evidence={"parts": len(scripted), "first": scripted[0]},
            fix="explain the eager model with the same weights",
        )


def precision(patient: Patient) -> Iterator[Finding]:
    """Is it quantised, or in half precision?"""
    low = [n for n, m in patient.module.named_modules() if type(m).__module__.startswith(QUANTISED)]
    if low:
        yield Finding(
            name="quantised",
            severity="warning",
            says="the model is quantised and has no gradients: only methods that ask for scores can explain it",
            evidence={"quantised layers": len(low), "first": low[0]},
            fix="explain the float model it was made from, or use Occlusion, LIME, Kernel SHAP or RISE",
        )
    kinds = Counter(str(p.dtype).removeprefix("torch.") for p in patient.module.parameters() if p.is_floating_point())
    if {"bfloat16", "float16"} & set(kinds):
        yield Finding(
            name="half_precision",
            severity="warning",
            says="weights are in half precision, in which gradients are coarse and sums lose completeness",
            evidence={"parameters by type": dict(kinds)},
            fix="explain model.float()",
        )
    elif len(kinds) > 1:
        yield Finding(
            name="mixed_precision",
            severity="note",
            says="weights are of several types",
            evidence={"parameters by type": dict(kinds)},
            fix="model.float(), unless it is meant",
        )


def frozen(patient: Patient) -> Iterator[Finding]:
    """Which parameters do not ask for gradients?"""
    flags = [p.requires_grad for p in patient.module.parameters()]
    if flags and not all(flags):
        yield Finding(
            name="frozen",
            severity="note",
            says="parameters are frozen; explanations do not depend on that here",
            evidence={"frozen parameters": flags.count(False), "of": len(flags)},
            fix="nothing to do here; tools that call backward() on layers need requires_grad_(True)",
        )


def copies(patient: Patient) -> Iterator[Finding]:
    """Can the module be copied? Otherwise it is used itself, and put back as it was."""
    module = patient.module
    try:
        twins.make(module)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's __deepcopy__ raises; it is the finding
        yield Finding(
            name="not_copied",
            severity="note",
            says="the module cannot be copied: it is used itself under a lock, and put back as it was",
            evidence={"reason": first_line(error)},
            fix="keep locks, files and generators outside the module",
        )


def weights(patient: Patient) -> Iterator[Finding]:
    """Are all weights finite, and is any there twice?"""
    named = [*patient.module.named_parameters(), *patient.module.named_buffers()]
    broken = {n: int((~t.isfinite()).sum()) for n, t in named if t.is_floating_point() and not bool(t.isfinite().all())}
    if broken:
        yield Finding(
            name="weights_not_finite",
            severity="error",
            says="weights are not finite",
            evidence={"tensors": len(broken), "values": broken[first := next(iter(broken))], "in": first},
            fix="load a checkpoint from before the training diverged",
        )
    tied = [n for n, _ in patient.module.named_parameters(remove_duplicate=False)]
    extra = len(tied) - len(dict(patient.module.named_parameters()))
    if extra:
        yield Finding(
            name="tied_weights",
            severity="note",
            says="layers share weights",
            evidence={"shared more than once": extra},
            fix="nothing to do here; a layer that runs twice is asked for by its call, 'name@0'",
        )
    twice = _twice(patient.module)
    if twice:
        yield Finding(
            name="equal_weights",
            severity="warning",
            says="different layers hold equal weights without sharing them, as if a checkpoint was loaded twice",
            evidence={"pairs": len(twice), "first": f"{twice[0][0]} = {twice[0][1]}"},
            fix="check how the checkpoint was loaded",
        )


def _twice(module: nn.Module) -> list[tuple[str, str]]:
    """Pairs of different parameters with the same numbers; vectors and constants do not count."""
    seen: dict[Any, tuple[str, Tensor]] = {}
    pairs: list[tuple[str, str]] = []
    for name, p in module.named_parameters():
        if p.ndim < 2 or p.numel() < 16 or p.is_quantized or bool((p == p.flatten()[0]).all()):
            continue
        flat = p.detach().flatten()
        key = (tuple(p.shape), float(flat[0]), float(flat[-1]), float(flat.double().sum()))
        if key in seen and torch.equal(seen[key][1], p.detach()):
            pairs.append((seen[key][0], name))
        seen.setdefault(key, (name, p.detach()))
    return pairs


class _Acts(TorchFunctionMode):
    """Counts activations as functions and operators in place, during one pass."""

    def __init__(self) -> None:
        super().__init__()
        self.called = self.in_place = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        self.called += func in RECTIFIERS
        flagged = bool((kwargs or {}).get("inplace")) or (func in RECTIFIERS and True in args[1:])
        self.in_place += flagged or (name.endswith("_") and not name.endswith("__"))
        return func(*args, **(kwargs or {}))


def activations(patient: Patient) -> Iterator[Finding]:
    """How many activations are functions, and what works in place? Tools that hook modules go wrong on both."""
    with patient.session() as session, torch.no_grad():
        counted = [0]
        kinds = tuple(getattr(activation, name) for name in activation.__all__)
        acts = [m for m in session.ready.twin.modules() if isinstance(m, kinds)]
        handles = [m.register_forward_pre_hook(lambda *_: counted.__setitem__(0, counted[0] + 1)) for m in acts]
        eye = _Acts()
        try:
            with eye:
                session.ready.twin(patient.rows[:1].clone())
        finally:
            for handle in handles:
                handle.remove()
    if eye.in_place:
        yield Finding(
            name="in_place",
            severity="note",
            says="operators work in place; here they are followed, but hooks see activations that were overwritten",
            evidence={"calls in place": eye.in_place},
            fix="nothing to do here; for tools with hooks, inplace=False",
        )
    modules = counted[0]
    if eye.called > modules:
        yield Finding(
            name="functional_activations",
            severity="note",
            says="activations are called as functions; here rules reach them, but tools that hook modules miss them",
            evidence={"functions": eye.called - modules, "modules": modules},
            fix="nothing to do here; for tools with hooks, write them as modules",
        )


def unused(patient: Patient) -> Iterator[Finding]:
    """Which parameters do not reach the scores?"""
    module, handle = patient.module, patient.handle
    if isinstance(handle, FunctionModel) or twins.scripted(module) or not list(module.parameters()):
        raise NotExamined
    with patient.session() as session:
        if session.ready.facts.draws or session.ready.twin is module:
            raise NotExamined("the model draws at random, or cannot be copied")
        leaves = {n: p.detach().requires_grad_() for n, p in session.ready.twin.named_parameters()}
        leaves = {n: p for n, p in leaves.items() if p.is_floating_point()}
        with torch.enable_grad():
            raw = torch.func.functional_call(session.ready.twin, leaves, (patient.rows[:1].clone(),))
            out = scores_of(raw, handle.outputs).sum()
            if not out.requires_grad:
                raise NotExamined("the model has no gradients")
            found = torch.autograd.grad(out, list(leaves.values()), allow_unused=True)
    idle = [name for name, gradient in zip(leaves, found, strict=True) if gradient is None]
    if idle:
        share = sum(leaves[n].numel() for n in idle) / sum(p.numel() for p in leaves.values())
        yield Finding(
            name="unused_parameters",
            severity="note",
            says="parameters do not reach the scores",
            evidence={"parameters": len(idle), "share of all weights": share, "first": idle[0]},
            fix="check the head and which output is explained: wrap(model, outputs=...)",
        )
