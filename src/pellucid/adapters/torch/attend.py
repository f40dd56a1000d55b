"""The attentions of a model: where their weights are, and how they are read while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.adapters.torch.layout import tokens_of
from pellucid.adapters.torch.watch import SOFTMAX, Facts
from pellucid.core.site import Attention, Site
from pellucid.propagation.apart import attention
from pellucid.propagation.layers import Layers
from pellucid.propagation.operators import TABLE, Kind

Tap = Callable[[Tensor], Tensor]


class Attending(TorchFunctionMode):
    """Hands attention weights to taps: those of calls that hide them, and results of softmax, in one numbering.

    taps  what to do with the weights of which call; a tap returns what the model goes on with
    """

    def __init__(self, taps: Mapping[int, Tap]) -> None:
        super().__init__()
        self.taps, self.number = taps, -1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        apart = attention(func)
        if apart is None and func not in SOFTMAX:
            return self.passed(func, args, kwargs)
        self.number += 1
        tap = self.tap(self.number)
        if tap is None:
            return func(*args, **kwargs)
        return tap(func(*args, **kwargs)) if apart is None else apart(*args, **kwargs, tap=tap)

    def tap(self, number: int) -> Tap | None:
        """The tap of one call."""
        return self.taps.get(number)

    def passed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Any other call."""
        return func(*args, **kwargs)


class _Finding(Attending):
    """Finds out which softmax weighs values: its result, moved or dropped out, is the left side of a product."""

    def __init__(self, layers: Layers) -> None:
        super().__init__({})
        self.layers = layers
        self.met: dict[int, tuple[str, tuple[int, ...]]] = {}
        self.sure: set[int] = set()
        self._marked: dict[int, tuple[int, Tensor]] = {}

    def tap(self, number: int) -> Tap | None:
        def note(weights: Tensor) -> Tensor:
            self.met[number] = (self.layers.current, tuple(weights.shape))
            self._marked[id(weights)] = (number, weights)
            return weights

        return note

    def passed(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        found = self._marked.get(id(args[0])) if args and isinstance(args[0], Tensor) else None
        if found is None:
            return out
        row = TABLE.get(func)
        if row is not None and row.kind is Kind.MATMUL:
            self.sure.add(found[0])
        elif isinstance(out, Tensor) and out.numel() == found[1].numel():
            self._marked[id(out)] = (found[0], out)
        return out

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if attention(func) is not None:
            self.sure.add(self.number + 1)
        return super().__torch_function__(func, types, args, kwargs)


def attentions(
    net: nn.Module, run: Callable[[], Any], image: tuple[int, int] | None, facts: Facts
) -> tuple[tuple[Attention, int], ...]:
    """Every attention of the net in execution order, with its number for `Attending`.

    run  evaluates the net on one row
    """
    shown = {layer.name: layer.shapes[0] for layer in facts.layers}
    layers = Layers(net, lambda args, kwargs: (args, kwargs), lambda _: None)
    try:
        finding = _Finding(layers)
        with finding:
            run()
    finally:
        layers.close()
    found = [(number, *finding.met[number]) for number in sorted(finding.sure & set(finding.met))]
    several, calls = Counter(layer for _, layer, _ in found), Counter[str]()
    listed: list[tuple[Attention, int]] = []
    for number, layer, shape in found:
        call = calls[layer]
        calls[layer] += 1
        site = Site(layer, call if several[layer] > 1 else None, "attention")
        apart = _in_windows(shape, shown.get(layer, ()))
        listed.append((_read(site, apart, image, facts.patch_grid), number))
    return tuple(listed)


def _in_windows(shape: tuple[int, ...], layer: tuple[int, ...]) -> tuple[int, ...]:
    """Weights [k, queries, keys] with the k told: windows of one head, where they make up the layer's places.

    layer: shape of what the layer gives for one row, [height, width, channel] or [channel, height, width]
    """
    if len(shape) == 3 and len(layer) == 3 and shape[0] > 1:
        places = shape[0] * shape[1]
        if places in (layer[0] * layer[1], layer[1] * layer[2]):
            return (shape[0], 1, *shape[1:])
    return shape


def _read(
    site: Site, shape: tuple[int, ...], image: tuple[int, int] | None, patch_grid: tuple[int, int] | None
) -> Attention:
    """What one row's weights [windows, heads, queries, keys] or [heads, queries, keys] say."""
    queries, keys = shape[-2:]
    windows = 1 if len(shape) == 3 else shape[0] if len(shape) == 4 else shape[0] * shape[1]
    plan = None if image is None or windows > 1 or queries != keys else tokens_of(queries, image, patch_grid)
    prefix, grid = (0, None) if plan is None else (plan.prefix, plan.grid)
    return Attention(site, shape[-3], queries, keys, windows, prefix, grid)
