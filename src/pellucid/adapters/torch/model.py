"""The handle on a torch module: what it can be asked, how photos become rows, and sessions that answer."""

# Hooks and version counters of modules and tensors are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from copy import copy
from hashlib import blake2b
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pellucid.adapters.torch import twin as twins
from pellucid.adapters.torch.budget import MEMORY, Budget, available
from pellucid.adapters.torch.outputs import Selector, scores
from pellucid.adapters.torch.pads import within
from pellucid.adapters.torch.prepare import TOLERANCE, channels_last, disagreement, fold
from pellucid.adapters.torch.ready import Ready
from pellucid.adapters.torch.session import TorchSession
from pellucid.adapters.torch.watch import Facts, Headless, Randomness, watch
from pellucid.core.ask import Can
from pellucid.core.errors import InputError, ParameterError, PellucidError, UnsupportedModel
from pellucid.core.explanation import ModelCard
from pellucid.core.target import EMITS, Labels
from pellucid.engine.run import no_room, out_of_memory
from pellucid.preprocess import Preprocess, Table, Tokens

Evaluate = Literal["auto", "plain", "prepared"]
QUANTISED = ("torch.ao.nn.quantized", "torch.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao")


class TorchModel:
    """A trained torch module, with the way from photos to its rows. Made by `pellucid.wrap` or `pellucid.load`.

    module      the trained module; it is never changed
    preprocess  how a photo becomes a row, or a text; `Preprocess.identity()` for models that are fed with tensors
    labels      class names, in the order of the outputs
    outputs     which part of what the module returns are the scores: a key, an index or a function
    emits       what the scores are; found out by looking when not given
    evaluate    `auto` uses the prepared form where it was verified, `plain` never, `prepared` insists
    rows        model rows at once; `auto` measures
    borrowed    do not keep the module alive
    """

    framework = "torch"

    def __init__(
        self,
        module: nn.Module,
        preprocess: Preprocess | Tokens | Table,
        labels: Sequence[str] | None = None,
        *,
        name: str | None = None,
        outputs: Selector = None,
        emits: str | None = None,
        evaluate: Evaluate = "auto",
        rows: int | Literal["auto"] = "auto",
        borrowed: bool = False,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise InputError(f"a {type(module).__name__} as a model", "a torch.nn.Module", "pellucid.wrap(module, ...)")
        if emits is not None and emits not in EMITS:
            raise ParameterError(f"emits={emits!r}", f"one of {', '.join(EMITS)}")
        if rows != "auto" and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
            raise ParameterError(f"rows={rows!r}", "a whole number of rows, 1 or more, or 'auto'")
        inside, self.notes = twins.unwrap(module)
        self._module = weakref.ref(inside) if borrowed else lambda: inside
        self.preprocess, self.labels = preprocess, Labels(None if labels is None else tuple(labels))
        self.name = name or type(self.module).__name__
        self.outputs, self.emits, self.evaluate, self.most_rows = outputs, emits, evaluate, rows
        self.can = _can(self.module)
        self._local = threading.local()
        self._print: tuple[twins.Watch, str] | None = None

    @property
    def module(self) -> nn.Module:
        """The trained module itself."""
        module = self._module()
        if module is None:
            raise InputError("a model whose module is gone", "a module that is still referred to")
        return module

    def __repr__(self) -> str:
        known = "no class names" if self.labels.names is None else f"{len(self.labels.names)} class names"
        return f"TorchModel({self.name}: {type(self.module).__name__}, {known})"

    def but(self, *, emits: str | None, labels: Sequence[str] | None = None) -> TorchModel:
        """The same model with another word on what its scores are, and other class names if given."""
        other, module = copy(self), self.module
        other._module = lambda: module
        other.emits, other._local = emits, threading.local()
        other.labels = self.labels if labels is None else Labels(tuple(labels))
        return other

    @property
    def device(self) -> torch.device:
        tensor = next(self.module.parameters(), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def fingerprint(self) -> str:
        """Hash of all weights and buffers; kept until they change."""
        if self._print is None or not self._print[0].same():
            digest = blake2b(digest_size=8)
            for name, tensor in self.module.state_dict().items():
                if isinstance(tensor, Tensor):
                    digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                    flat = tensor.detach().cpu().contiguous().flatten()
                    digest.update(b"" if tensor.is_quantized else flat.view(torch.uint8).numpy().data)
            self._print = (twins.Watch(self.module), digest.hexdigest())
        return self._print[1]

    def given(self, inputs: Any) -> Any:
        """What a user passes, as photos, texts or rows [batch, ...]; here as it is."""
        return inputs

    # -- sessions --------------------------------------------------------------------------------------------

    @contextmanager
    def ready(self, x: Tensor) -> Generator[TorchSession]:
        """A session for rows like x. Modes, random states and the module are as before on any exit."""
        _here(self.name)
        quiet = bool(getattr(self._local, "ready", None)) and not self._local.draws  # seen to draw nothing
        before = None if quiet else Randomness.now()
        with (
            torch.inference_mode(False),
            torch.autocast(x.device.type, enabled=False),
            _borrowed(self) as net,
        ):
            try:
                yield self._session(net, x)
            finally:
                if before is not None and before.moved():
                    before.restore()
                    self._local.draws = True

    def _session(self, net: nn.Module, x: Tensor) -> TorchSession:
        key = (tuple(x.shape[1:]), x.dtype, x.device)
        cache: dict[Any, Ready] = self._local.ready
        spent = 0
        if key not in cache:
            try:
                cache[key], spent = self._prepare(net, x[:1])
            except Exception as error:
                if out_of_memory(error):
                    raise no_room(tuple(x.shape[1:]), str(error).partition("\n")[0][:120]) from error
                if not isinstance(error, PellucidError):
                    error.add_note(f"{self.name} fails on a row of shape {tuple(x.shape[1:])}, the first it was given")
                raise
        ready = cache[key]
        card: ModelCard | None = self._local.cards.get(key)
        if card is None:
            how = ("prepared: " if ready.prepared is not None else "plain: ") + ready.why
            card = ModelCard(name=self.name, fingerprint=self.fingerprint(), evaluator=how, framework=self.framework)
            self._local.cards[key] = card
        return TorchSession(
            ready,
            labels=self.labels,
            card=card,
            select=self.outputs,
            original=self.module,
            evaluate=self.evaluate,
            most_rows=self.most_rows if isinstance(self.most_rows, int) else None,
            verification=spent,
            decisions=(*self.notes, *self._copied(), *_said(ready.facts)),
        )

    def _copied(self) -> tuple[str, ...]:
        if self._local.twin is not None:
            return ()
        return (f"the module cannot be copied ({self._local.why}): used in place, and put back as it was",)

    def _prepare(self, net: nn.Module, row: Tensor) -> tuple[Ready, int]:
        facts = watch(net, row, self.outputs, self.emits)
        if self.labels.names is not None and len(self.labels.names) != facts.outputs:
            raise ParameterError(
                f"{len(self.labels.names)} class names for a model with {facts.outputs} outputs", "one name per output"
            )
        forms, folded, why, spent = self._fast(net, row, facts)
        image = (int(row.shape[-2]), int(row.shape[-1])) if row.ndim == 4 else None
        budget = Budget(tuple(row.shape[1:]), row.dtype, row.device, min(MEMORY, available() // 4))
        ids = None if row.is_floating_point() else row.detach().clone()
        return Ready(net, facts, *forms, folded, why, budget, image, {}, ids=ids), 1 + spent

    def _fast(self, net: nn.Module, row: Tensor, facts: Facts) -> tuple[Forms, frozenset[str], str, int]:
        """The prepared forms, if they are wanted, pay, and agree: (modules or None, folded layers, why, rows run)."""
        nothing: frozenset[str] = frozenset()
        if self.evaluate == "plain":
            return NONE, nothing, "asked for", 0
        pays = facts.convolutions >= 3 and row.ndim == 4 and min(row.shape[-2:]) >= 64
        if net is self.module or facts.draws or not (pays or self.evaluate == "prepared"):
            return NONE, nothing, "a prepared form would not pay" if not facts.draws else "the model draws at random", 0
        form, changed = fold(net, facts.folds)
        channels_last(form)
        with torch.no_grad():
            plain = self._scores(net, row.clone(), facts)
            try:
                gap = disagreement(self._scores(form, _laid_out(row), facts), plain)
                trouble = "" if gap <= TOLERANCE.get(row.dtype, 1e-4) else f"differed by {gap:.2g}"
            except RuntimeError as error:  # a view that demands another layout, for example
                gap, trouble = 0.0, f"did not run ({str(error).partition('. ')[0][:120]})"
        if trouble:
            if self.evaluate == "prepared":
                raise UnsupportedModel(f"the prepared form {trouble}", "agreement", "use evaluate='plain'")
            return NONE, nothing, f"the prepared form {trouble}", 2
        with torch.no_grad():
            forms = form, self._padded(form, row, facts, plain)
        says = f"{len(changed)} batch-norms folded, channels last, agrees to {gap:.1g}"
        return forms, frozenset(changed), says, 3 if facts.pads else 2

    def _padded(self, form: nn.Module, row: Tensor, facts: Facts, plain: Tensor) -> nn.Module | None:
        """The prepared form with paddings in its convolutions, if there are any and it agrees with the plain scores."""
        if not facts.pads:
            return None
        padded = twins.again(form)
        within(padded, facts.pads)
        try:
            gap = disagreement(self._scores(padded, _laid_out(row), facts), plain)
        except RuntimeError:  # code of the model's own that leaves its convolution's padding unread
            return None
        return padded if gap <= TOLERANCE.get(row.dtype, 1e-4) else None

    def _scores(self, net: nn.Module, x: Tensor, facts: Facts) -> Tensor:
        if facts.head is None:
            return scores(net(x), self.outputs)
        with Headless(facts.head):
            return scores(net(x), self.outputs)


Forms = tuple[nn.Module | None, nn.Module | None]
"""The prepared form, and the one that has paddings in its convolutions besides."""
NONE: Forms = (None, None)

_process: list[int] = []
"""The process in which the first model was run."""


def _here(name: str) -> None:
    """Refuse a fork of a process in which a model ran: torch's threads are not in it, and are waited for for ever."""
    if not _process:
        _process.append(os.getpid())
    if _process[0] != os.getpid():
        raise InputError(
            f"{name} in a process that was forked after torch had run in its parent",
            "a process of its own, which has torch's threads",
            'start it with multiprocessing.get_context("spawn"), or fork before the first explanation',
        )


def _can(module: nn.Module) -> frozenset[Can]:
    """What a module can be asked. Raises UnsupportedModel for one whose weights have no shape yet."""
    lazy = [name for name, tensor in module.named_parameters() if is_lazy(tensor)]
    if lazy:
        raise UnsupportedModel(
            f"{type(module).__name__} with weights that have no shape yet ({', '.join(lazy[:3])})",
            "a trained model",
            "lazy layers take their shapes from the first row: run the model once, and train it",
        )
    if any(type(m).__module__.startswith(QUANTISED) for m in module.modules()):
        return frozenset({Can.SCORE})
    if isinstance(module, torch.jit.ScriptModule):
        return frozenset({Can.SCORE, Can.GRADIENT})
    return frozenset(Can)


def _laid_out(row: Tensor) -> Tensor:
    return row.clone(memory_format=torch.channels_last) if row.ndim == 4 else row.clone()


def _said(facts: Facts) -> tuple[str, ...]:
    notes: list[str] = []
    if facts.entrance is not None:
        notes.append(f"rows are token ids: their vectors, from layer {facts.entrance[0]}, are the input explained")
    if facts.head is not None:
        notes.append("the model ends in a softmax: its input is explained as the logit")
    if facts.emits == "probabilities":
        notes.append("the outputs are probabilities: their logarithm stands for the logit")
    if facts.draws:
        notes.append(
            f"the model draws random numbers in eval mode ({', '.join(sorted(facts.draws))}): it is stochastic"
        )
    return tuple(notes)


# -- the module, as a private twin or borrowed -----------------------------------------------------------------

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


@contextmanager
def _borrowed(model: TorchModel) -> Generator[nn.Module]:
    """The thread's twin of the module, renewed when the module has changed; or, where it cannot be copied, the
    module itself in eval mode under a lock, put back as it was on any exit.
    """
    local = model._local
    owner: nn.Module = getattr(model.module, "inside", model.module)  # a Keras model has several handles
    with _locks_lock:
        lock = _locks.setdefault(owner, threading.RLock())
    with lock:  # while another thread has borrowed the module, it is not as it was
        _renewed(model)
    if local.twin is not None:
        yield local.twin
        return
    try:
        with lock, _as_it_was(model.module):
            yield model.module
    finally:
        if isinstance(model._module, weakref.ref):
            local.ready = {}  # it holds the module, which is not ours to keep alive


def _renewed(model: TorchModel) -> None:
    """The thread's twin made anew where there is none, or the module is no longer what it was."""
    local = model._local
    watch: twins.Watch | None = getattr(local, "watch", None)
    if watch is not None and watch.same():
        return
    local.ready, local.cards, local.draws = {}, {}, False
    try:
        local.twin = twins.make(model.module)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's __deepcopy__ raises; the record says it
        local.twin = None
        local.why = f"{type(error).__name__}: {error}"
    local.watch = twins.Watch(model.module)


@contextmanager
def _as_it_was(module: nn.Module) -> Generator[None]:
    """Eval mode for a while: attributes, training flags and buffers are put back on any exit."""
    every = list(module.modules())
    tables = [t for each in every for t in (each.__dict__, each._parameters, each._buffers, each._modules)]
    before = [(table, dict(table)) for table in tables]
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    try:
        twins.quiet(module)
        yield
    finally:
        for table, entries in before:
            _put_back(table, entries)
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _put_back(table: dict[str, Any], entries: dict[str, Any]) -> None:
    """The entries as they were, the same objects in the same order."""
    for name in [name for name in table if name not in entries]:
        del table[name]
    for name, value in entries.items():
        if table.get(name, entries) is not value:
            table[name] = value
