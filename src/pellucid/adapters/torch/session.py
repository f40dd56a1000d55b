"""A torch model made ready for rows of one shape: the evaluation behind every answer."""

# Hooks and version counters of modules and tensors are private in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.adapters.torch.budget import Budget
from pellucid.adapters.torch.layout import Plan, read, refuse
from pellucid.adapters.torch.outputs import Selector, scores
from pellucid.adapters.torch.watch import NOT_ROWS, Facts, Headless, first_tensor, replaced
from pellucid.core.ask import PLAIN, Answer, Lane, Rows, Variant
from pellucid.core.errors import RuleError, SiteError, UnsupportedModel, nearest
from pellucid.core.explanation import ModelCard
from pellucid.core.site import AUTO, ModuleName, Site
from pellucid.core.target import Labels
from pellucid.engine.run import no_room, out_of_memory
from pellucid.propagation import Deconv, Guided, Intercept

NAMELESS = (Guided, Deconv)
"""Rules that do not ask for the layer: after one pass with names, passes without are enough."""


@dataclass(slots=True, eq=False)
class Ready:
    """What is kept between calls for one (weights, shape, dtype, device), by one thread."""

    twin: nn.Module
    facts: Facts
    prepared: nn.Module | None
    folded: frozenset[str]
    """Layers whose own output is gone in the prepared form."""
    why: str
    """Why the prepared form is used, or not."""
    budget: Budget
    image: tuple[int, int] | None
    variants: dict[Variant, nn.Module]
    auto: Site | None = None
    seconds: dict[str, float] | None = None
    audits: dict[Any, str] = field(default_factory=dict)
    """What every rule served, by (module, rule)."""


class TorchSession:
    """Answers the engine. One thread, one shape of rows."""

    def __init__(
        self,
        ready: Ready,
        *,
        labels: Labels,
        card: ModelCard,
        select: Selector,
        original: nn.Module,
        evaluate: str,
        most_rows: int | None,
        verification: int,
        decisions: tuple[str, ...],
    ) -> None:
        self.ready, self.labels, self.card, self.select = ready, labels, card, select
        self.original, self.evaluate, self.most_rows = original, evaluate, most_rows
        self.emits, self.outputs = ready.facts.emits, ready.facts.outputs
        self.verification, self._decisions = verification, list(decisions)
        self._plans: dict[Site, Plan] = {}

    # -- sites -----------------------------------------------------------------------------------------------

    @property
    def decisions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._decisions))

    def site(self, site: Site) -> Site:
        """The full address; `auto`, layers given as objects, and layouts are resolved here, once."""
        name = site.name
        if isinstance(name, ModuleName):
            name = self._name_of(name.module)
        if name == "auto":
            return self._auto()
        shapes = self._shapes(name)
        if site.call is None and len(shapes) > 1:
            raise SiteError(
                f"layer {name!r} runs {len(shapes)} times in one pass",
                f"which call: {', '.join(f'{name}[{i}]' for i in range(min(len(shapes), 4)))} ...",
            )
        call = site.call or 0
        if not -len(shapes) <= call < len(shapes):
            raise SiteError(f"call {call} of layer {name!r}", f"a call below {len(shapes)}")
        if shapes[call] == NOT_ROWS:
            raise SiteError(
                f"the first axis of the output of layer {name!r} is not the batch",
                "a layer that answers row by row",
                "take the layer around it, for example the block",
            )
        return replace(site, name=name, call=None if len(shapes) == 1 else call % len(shapes))

    def _name_of(self, module: nn.Module) -> str:
        for name, each in self.original.named_modules():
            if each is module:
                return name
        raise SiteError(f"the layer {type(module).__name__} given is not part of the model", "a layer of this model")

    def _shapes(self, name: str) -> tuple[tuple[int, ...], ...]:
        known = {layer.name: layer for layer in self.ready.facts.layers}
        if name in known:
            return known[name].shapes
        near = nearest(name, known)
        if any(name == n for n, _ in self.original.named_modules()):
            raise SiteError(f"layer {name!r} does not run, or is scripted", "a layer that runs in a forward pass")
        raise SiteError(
            f"no layer {name!r}",
            "a layer's path, as in named_modules()",
            f"perhaps {near}" if near else "pellucid layers MODEL lists all",
        )

    def _auto(self) -> Site:
        if self.ready.auto is None:
            self.ready.auto, cost = self._choose()
            self.verification += cost
        return self.ready.auto

    def about(self, site: Site) -> tuple[str, ...]:
        """What was decided about a site that a method asked for."""
        found = self.site(site)
        says = self.plan(found).says
        notes = [f"layer {found}: the last with height and width that the output depends on"] if site == AUTO else []
        return (*notes, *([f"layer {found}: {says}"] if says else []))

    def candidates(self) -> list[tuple[Site, tuple[int, ...]]]:
        """Layers that have height and width, in the order in which they finish, with their maps' shapes."""
        facts = self.ready.facts
        found: list[tuple[Site, tuple[int, ...]]] = []
        for name, call in facts.order:
            shapes = self._shapes(name)
            plan = read(shapes[call], self.ready.image, facts.patch_grid)
            if name and plan is not None:
                found.append((Site(name, None if len(shapes) == 1 else call), plan.shape(shapes[call])))
        return found

    def _choose(self) -> tuple[Site, int]:
        """The last candidate on which the score depends.

        Side branches end later than what they branch from, and behind the last block of a vision transformer with
        a class token the patches no longer matter. Among tokens only those of the residual stream's width count.
        """
        sites = [site for site, _ in self.candidates()]
        if not sites:
            raise SiteError(
                "no layer of the model has height and width", "a feature map", "choose one: at='layer name'"
            )
        if self.plan(sites[-1]).kind == "tokens":
            tokens = [site for site in sites if self.plan(site).kind == "tokens"]
            width = self.site_shape(tokens[0])[0]
            sites = [site for site in tokens if self.site_shape(site)[0] == width]
        x = torch.zeros(1, *self._row_shape, dtype=self._dtype, device=self._device)
        lane = Lane(PLAIN, False, tuple(sites), tuple(sites))
        try:
            answer = self.run(Rows(1, lambda: x + 0.1, lambda: x, lambda: x[:, 0], _best, 1), lane)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise no_room(self._row_shape, str(error).partition("\n")[0][:120]) from error
        matters = [site for site in sites if bool(answer.slopes[site].any())]
        return (matters or sites)[-1], 1

    def plan(self, site: Site) -> Plan:
        """How the site's activation is read."""
        if site not in self._plans:
            shape = self._shapes(site.name)[site.call or 0]
            wanted = None if site.layout == "auto" else site.layout
            plan = read(shape, self.ready.image, self.ready.facts.patch_grid)
            if wanted == "tokens" and (plan is None or plan.kind != "tokens"):
                raise refuse(site.name, shape)
            if wanted is not None and wanted != "tokens":
                plan = Plan(wanted)
            self._plans[site] = Plan("none") if plan is None else plan
        return self._plans[site]

    def site_shape(self, site: Site) -> tuple[int, ...]:
        return self.plan(site).shape(self._shapes(site.name)[site.call or 0])

    # -- cost ------------------------------------------------------------------------------------------------

    def rows(self, lane: Lane, graded: int) -> int:
        if self.most_rows is not None:
            return self.most_rows
        return self.ready.budget.rows(self.bytes(lane), self.ready.facts.bytes_largest, lane.backward)

    def bytes(self, lane: Lane) -> int:
        facts = self.ready.facts
        if lane.gradient:
            return facts.bytes_all * 3 // 4 if self.ready.folded else facts.bytes_all  # folded norms keep nothing
        return 4 * facts.bytes_largest + sum(4 * _size(self.site_shape(s)) for s in lane.sites)

    def seconds(self, lane: Lane, graded: int) -> float:
        times = self.ready.seconds or {}
        forward, backward = times.get("forward", 0.0), times.get("backward", 0.0)
        return forward + (backward * graded if lane.gradient else 0.1 * backward * graded if lane.backward else 0.0)

    # -- evaluation ------------------------------------------------------------------------------------------

    def run(self, rows: Rows, lane: Lane) -> Answer:
        net = self._net(lane)
        where = lane.where
        entering = rows.clean if where.into is not None else rows.build
        if not lane.backward:
            with torch.inference_mode():
                tape = _Tape(self, lane, rows, None)
                out = self._forward(net, entering().clone(), tape)
                explained = rows.objective(out, tape.seen)
            return Answer(out.clone(), explained.clone(), sites={s: t.clone() for s, t in tape.seen.items()})
        if where.rule is None:
            return self._differentiated(net, rows, lane, None)
        rule: Any = where.rule
        seen_before = isinstance(rule, NAMELESS) and (net, rule) in self.ready.audits
        try:
            return self._differentiated(net, rows, lane, Intercept(net, rule, names=not seen_before))
        except RuleError:
            if not seen_before:
                raise
            return self._differentiated(net, rows, lane, Intercept(net, rule))  # for a message that names the layer

    def _differentiated(self, net: nn.Module, rows: Rows, lane: Lane, listening: Intercept | None) -> Answer:
        with torch.enable_grad(), nullcontext() if listening is None else listening:
            leaf = rows.build().detach().requires_grad_(lane.gradient)
            tape = _Tape(self, lane, rows, leaf)
            out = self._forward(net, (leaf if lane.where.into is None else rows.clean()) * 1, tape)
            answer = self._backward(rows, out, leaf, tape, lane)
        if listening is not None:
            listening.verify()
            self._note(net, listening)
        return answer

    def _note(self, net: nn.Module, seen: Intercept) -> None:
        """Say what a rule served, and which activations kept their ordinary gradient."""
        key = (net, seen.rules)
        if key not in self.ready.audits:
            audit = seen.audit
            met = Counter(f"{entry.operator} in {entry.layer or 'the model'}" for entry in audit.unruled)
            kept = f"; no rule for {', '.join(list(met)[:6])}: plain gradient there" if met else ""
            self.ready.audits[key] = f"{audit.rules}: {len(audit.served)} rectifiers follow the rule{kept}"
        self._decisions.append(self.ready.audits[key])

    def _forward(self, net: nn.Module, x: Tensor, tape: _Tape) -> Tensor:
        if net is self.ready.prepared and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        head = self.ready.facts.head
        with tape.on(net):
            if head is None:
                return scores(net(x), self.select)
            with Headless(head):
                return scores(net(x), self.select)

    def _backward(self, rows: Rows, out: Tensor, leaf: Tensor, tape: _Tape, lane: Lane) -> Answer:
        inputs = ([leaf] if lane.gradient else []) + [tape.raw[s] for s in lane.slopes]
        graded = rows.graded
        if rows.start is not None and out.requires_grad:  # the score is an output: the backward pass starts there
            explained = rows.objective(out.detach(), tape.seen)
            roots, starts = [out] * graded, rows.start(out.detach())
        else:
            explained = rows.objective(out, tape.seen)
            roots, starts = [score.sum() for score in explained[:graded]], [None] * graded
        if not (roots and roots[0].requires_grad):
            raise UnsupportedModel(
                f"the output of {self.card.name} does not depend on its input in a way that can be differentiated",
                "a model with gradients",
                "use a method that only needs scores, such as Occlusion; quantised models have no gradient",
            )
        found: list[tuple[Tensor | None, ...]] = [
            torch.autograd.grad(root, inputs, start, retain_graph=t < graded - 1, allow_unused=True)
            for t, (root, start) in enumerate(zip(roots, starts, strict=True))
        ]
        if lane.gradient and any(grads[0] is None for grads in found):
            raise UnsupportedModel("the score does not depend on the input", "a score that the input can change")
        offset = int(lane.gradient)
        slopes: dict[Site, Tensor] = {}
        for i, site in enumerate(lane.slopes):
            take = self.plan(site).take
            raw = tape.raw[site]
            per = [take(torch.zeros_like(raw) if g[offset + i] is None else g[offset + i]) for g in found]  # pyright: ignore
            slopes[site] = per[0][None] if graded == 1 else torch.stack(per)
        gradient = None
        if lane.gradient:
            firsts = [grads[0].contiguous() for grads in found]  # pyright: ignore[reportOptionalMemberAccess]
            gradient = firsts[0][None] if graded == 1 else torch.stack(firsts)
        seen = {site: tensor.detach() for site, tensor in tape.seen.items()}
        return Answer(out.detach(), explained.detach(), gradient, seen, slopes)

    def _net(self, lane: Lane) -> nn.Module:
        ready, where = self.ready, lane.where
        if where.variant is not None:
            return self._variant(where.variant)
        touched = [*lane.sites, *([where.into] if where.into else []), *([where.edit.site] if where.edit else [])]
        if ready.prepared is None or any(s.name in ready.folded for s in touched):
            return ready.twin
        return ready.prepared

    def _variant(self, variant: Variant) -> nn.Module:
        if variant not in self.ready.variants:
            from pellucid.adapters.torch.twin import again

            try:
                net = again(self.ready.twin)
            except Exception as error:
                raise UnsupportedModel(
                    f"{self.card.name} cannot be copied ({type(error).__name__}: {error}), so it keeps its weights",
                    "a model that copy.deepcopy accepts",
                ) from error
            tensors = dict(net.named_parameters()) | dict(net.named_buffers())
            for name, value in variant.change({k: v.detach() for k, v in tensors.items()}).items():
                owner, _, last = name.rpartition(".")
                module = net.get_submodule(owner) if owner else net
                if last in module._parameters:
                    module._parameters[last] = nn.Parameter(value.detach(), requires_grad=False)
                else:
                    module._buffers[last] = value.detach()
            self.ready.variants[variant] = net
        return self.ready.variants[variant]

    @property
    def _row_shape(self) -> tuple[int, ...]:
        return self.ready.budget.shape

    @property
    def _dtype(self) -> torch.dtype:
        return self.ready.budget.dtype

    @property
    def _device(self) -> torch.device:
        return self.ready.budget.device


def _best(outputs: Tensor, sites: Mapping[Site, Tensor]) -> Tensor:
    return outputs.amax(1)[None]


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


class _Tape:
    """What happens at sites during one forward pass: activations recorded, replaced, or fed in."""

    def __init__(self, session: TorchSession, lane: Lane, rows: Rows, leaf: Tensor | None) -> None:
        self.session, self.lane, self.rows, self.leaf = session, lane, rows, leaf
        self.seen: dict[Site, Tensor] = {}
        self.raw: dict[Site, Tensor] = {}

    @contextmanager
    def on(self, net: nn.Module) -> Generator[None]:
        """Hooks on the private twin while one pass runs."""
        where = self.lane.where
        wanted: dict[str, list[Site]] = {}
        for site in (
            *self.lane.sites,
            *([where.into] if where.into else []),
            *([where.edit.site] if where.edit else []),
        ):
            wanted.setdefault(site.name, []).append(site)
        handles = [net.get_submodule(name).register_forward_hook(self._hook(at)) for name, at in wanted.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, sites: list[Site]) -> Callable[..., Any]:
        calls = -1

        def after(module: nn.Module, args: Any, out: Any) -> Any:
            nonlocal calls
            calls += 1
            tensor = first_tensor(out)
            here = [site for site in dict.fromkeys(sites) if (site.call or 0) == calls]
            if tensor is None or not here:
                return None
            for site in here:
                tensor = self._visit(site, tensor)
            return replaced(out, tensor)

        return after

    def _visit(self, site: Site, tensor: Tensor) -> Tensor:
        lane, plan = self.lane, self.session.plan(site)
        if lane.where.into == site:
            entering = self.leaf if self.leaf is not None else self.rows.build()
            tensor = plan.put(tensor.detach(), entering.clone())  # the model may go on in place
        edit = lane.where.edit
        if edit is not None and edit.site == site:
            tensor = plan.put(tensor, edit.change(plan.take(tensor), self.rows.k())).clone()
        if site in lane.slopes and not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_(True)  # nothing below needs a graph: backward stops here
        if site in lane.sites:
            self.raw[site] = tensor
            self.seen[site] = plan.take(tensor)
            tensor = tensor.clone()  # what is recorded must not be overwritten by an operator in place
        return tensor
