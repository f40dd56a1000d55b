"""Addresses of one model: which layers ran, how their activations are read, and which have height and width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

from torch import nn

from pellucid.adapters.torch.layout import Plan, read, refuse
from pellucid.adapters.torch.watch import NOT_ROWS, Facts
from pellucid.core.errors import SiteError, nearest
from pellucid.core.site import Attention, ModuleName, Site


class Sites:
    """The layers of a model as one pass showed them.

    facts     what the pass showed
    image     height and width of the model's input; None where rows are not pictures
    original  the user's module, for layers that are given as objects
    attend    finds the attentions and their numbers, when somebody asks for them
    """

    def __init__(
        self,
        facts: Facts,
        image: tuple[int, int] | None,
        original: nn.Module,
        attend: Callable[[], tuple[tuple[Attention, int], ...]],
    ) -> None:
        self.facts, self.image, self.original, self.attend = facts, image, original, attend
        self._layers = {layer.name: layer for layer in facts.layers}
        self._plans: dict[Site, Plan] = {}

    def resolved(self, site: Site) -> Site:
        """The full address. Raises SiteError for layers that do not exist, do not run, or run in several calls."""
        name = self._name_of(site.name.module) if isinstance(site.name, ModuleName) else self._whole(site.name)
        if site.layout == "attention":
            return self._attention(replace(site, name=name))[0].site
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

    def number(self, site: Site) -> int:
        """The number of an attention, for `Attending`."""
        return self._attention(site)[1]

    def _attention(self, site: Site) -> tuple[Attention, int]:
        """The attention of a layer. Raises SiteError where there is none, or which one is not said."""
        every = self.attend()
        here = [found for found in every if found[0].site.name == site.name]
        if not here:
            names = [found[0].site.name for found in every]
            raise SiteError(
                f"layer {site.name!r} computes no attention" if names else "the model computes no attention",
                "a layer that runs softmax, scaled_dot_product_attention or multi_head_attention_forward itself",
                f"attentions are in {', '.join(dict.fromkeys(names))}" if names else "use a method for any model",
            )
        if site.call is None and len(here) > 1:
            raise SiteError(f"layer {site.name!r} computes {len(here)} attentions", "which: Site(name, call=0, ...)")
        if not -len(here) <= (site.call or 0) < len(here):
            raise SiteError(f"attention {site.call} of layer {site.name!r}", f"a number below {len(here)}")
        return here[site.call or 0]

    def candidates(self) -> list[tuple[Site, tuple[int, ...]]]:
        """Layers that have height and width, in the order in which they finish, with their maps' shapes."""
        found: list[tuple[Site, tuple[int, ...]]] = []
        for name, call in self.facts.order:
            shapes = self._shapes(name)
            plan = read(shapes[call], self.image, self.facts.patch_grid, self._layers[name].last)
            if name and plan is not None:
                found.append((Site(name, None if len(shapes) == 1 else call), plan.shape(shapes[call])))
        return found

    def every(self, by_rows: Collection[tuple[str, int]]) -> tuple[Site, ...]:
        """All layers but the model itself, in the order in which they finish, as far as they answer row by row."""
        calls = Counter(name for name, _ in self.facts.order)
        rows = [(n, k) for n, k in self.facts.order if n and (n, k) in by_rows and self._shapes(n)[k] != NOT_ROWS]
        return tuple(Site(name, None if calls[name] == 1 else call) for name, call in rows)

    def streams(self) -> tuple[Site, ...]:
        """The candidates among which `auto` chooses: among tokens, those of the last grid with the stream's width.

        Most layers have that width; only perceptrons, projections and merged patches have others.
        """
        sites = [site for site, _ in self.candidates()]
        if not sites:
            raise self._mapless()
        if self.plan(sites[-1]).kind == "tokens":
            last = self.plan(sites[-1]).grid
            tokens = [s for s in sites if self.plan(s).kind == "tokens" and self.plan(s).grid == last]
            width = Counter(self.shape(site)[0] for site in tokens).most_common(1)[0][0]
            sites = [site for site in tokens if self.shape(site)[0] == width]
        return tuple(sites)

    def _mapless(self) -> SiteError:
        """For models of functions alone, in which no layer can be named, and for those whose layers have no maps."""
        if self.image is not None and not any(self._layers):
            do = "send the map through a layer of its own, `x = self.map(x)` with `self.map = nn.Identity()`: at='map'"
            return SiteError("the model has no layers: all of it runs in one forward", "a layer with a feature map", do)
        return SiteError("no layer of the model has height and width", "a feature map", "choose one: at='layer name'")

    def best(self, sites: list[Site]) -> Site:
        """The last of them; among tokens the last norm, where the residual stream is read, not a part of attention."""
        if self.plan(sites[-1]).kind == "tokens":
            norms = [site for site in sites if "norm" in self._layers[site.name].type.lower()]
            return (norms or sites)[-1]
        return sites[-1]

    def plan(self, site: Site) -> Plan:
        """How the site's activation is read."""
        if site not in self._plans and site.layout == "attention":
            one = self._attention(site)[0]
            self._plans[site] = Plan("attention", maps=one.windows * one.heads)
        if site not in self._plans:
            shape = self._shapes(site.name)[site.call or 0]
            wanted = None if site.layout == "auto" else site.layout
            plan = read(shape, self.image, self.facts.patch_grid, self._layers[site.name].last)
            if wanted == "tokens" and (plan is None or plan.kind != "tokens"):
                raise refuse(site.name, shape)
            if wanted is not None and wanted != "tokens":
                plan = Plan(wanted)
            self._plans[site] = Plan("none") if plan is None else plan
        return self._plans[site]

    def shape(self, site: Site) -> tuple[int, ...]:
        """Shape of one row's activation, as it is read."""
        if site.layout == "attention":
            one = self._attention(site)[0]
            return (one.windows * one.heads, one.queries, one.keys)
        return self.plan(site).shape(self._shapes(site.name)[site.call or 0])

    def _name_of(self, module: nn.Module) -> str:
        for name, each in self.original.named_modules():
            if each is module:
                return name
        raise SiteError(f"the layer {type(module).__name__} given is not part of the model", "a layer of this model")

    def _whole(self, name: str) -> str:
        """The whole name of a layer of a model inside the model, which Keras users know by its own."""
        inside = [each for each in self._layers if each.endswith(f"/{name}")] if name not in self._layers else []
        return inside[0] if len(inside) == 1 else name

    def _shapes(self, name: str) -> tuple[tuple[int, ...], ...]:
        if name in self._layers:
            return self._layers[name].shapes
        if any(name == n for n, _ in self.original.named_modules()):
            raise SiteError(f"layer {name!r} does not run, or is scripted", "a layer that runs in a forward pass")
        near = nearest(name, self._layers)
        raise SiteError(
            f"no layer {name!r}",
            "a layer's path, as in named_modules()",
            f"perhaps {near}" if near else "pellucid layers MODEL lists all",
        )
