"""What is known of a torch model for rows of one shape, and kept between calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pellucid.adapters.torch.budget import Budget
from pellucid.adapters.torch.faster import Faster
from pellucid.adapters.torch.replay import Course
from pellucid.adapters.torch.watch import Facts
from pellucid.core.ask import Variant
from pellucid.core.site import Attention, Site, Stream
from pellucid.propagation.reference import Reference


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """What reference rows met under a rule set, their outputs, and the activations of sites that are read."""

    key: Any
    """The module, the rules, and what enters and is read."""
    rows: Tensor
    reference: Reference
    out: Tensor
    seen: Mapping[Site, Tensor]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Ready:
    """What is kept between calls for one (weights, shape, dtype, device), by one thread."""

    twin: nn.Module
    facts: Facts
    prepared: nn.Module | None
    padded: nn.Module | None
    """The prepared form with zero paddings as part of the convolutions behind them, where there are any."""
    folded: frozenset[str]
    """Layers whose own output is gone in the prepared forms."""
    why: str
    """Why the prepared form is used, or not."""
    budget: Budget
    image: tuple[int, int] | None
    variants: dict[Variant, nn.Module]
    auto: Site | None = None
    seconds: dict[str, float] | None = None
    audits: dict[Any, str] = field(default_factory=dict)
    """What every rule served, by (module, rule)."""
    attended: tuple[tuple[Attention, int], ...] | None = None
    """The attentions, once somebody has asked for them."""
    by_rows: frozenset[tuple[str, int]] | None = None
    """The calls of layers that answer row by row, once somebody has asked for them."""
    tails: dict[Site, bool] = field(default_factory=dict)
    """Whether re-running only what lies behind a site was seen to give the same; sites not yet tried are missing."""
    course: Course | None = None
    """What one pass reads and overwrites, once variants are asked for together."""
    stream: Stream | str | None = None
    """Where tokens can be taken out, or why they cannot; None while nobody has asked."""
    laid: dict[Any, Any] = field(default_factory=dict)
    """Composites that look at positions, settled for the calls of a module: by (module, composite, what enters)."""
    undoubled: str | None = None
    """Why it does not run in double precision, "" where it does; None while nobody has asked."""
    ids: Tensor | None = None
    """A row of token ids to look with: models may refuse one that is nothing but padding."""
    faster: Faster | None = None
    """The model in another, faster engine, for scores alone."""
    slower: str | None = None
    """Why there is none; None while nobody has tried."""
    met: Met | None = None
    """What the last single reference row met."""
    unlike: set[Any] = field(default_factory=set)
    """(module, rule) where one reference row cannot stand for several."""

    def forget(self, variant: Variant) -> None:
        """Drop a variant, and all that is known of its module."""
        gone = self.variants.pop(variant)
        self.unlike = {key for key in self.unlike if key[0] is not gone}
        for known in (self.audits, self.laid):
            for key in [key for key in known if key[0] is gone]:
                del known[key]
