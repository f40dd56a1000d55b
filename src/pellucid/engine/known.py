"""What a model has said before: rows that come again, in other calls and from other methods, are answered from memory.

Rows are known by their content, as the model takes them. So it does not matter who asks, a method or a metric, how it
hides what, or from which draw a coalition came: it is the same row, or it is asked. An estimator's weights belong to
its own design; what is remembered is what the model said, and nothing of who asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from pellucid.core.ask import SCORES, Answer, Lane, Rows, Session
from pellucid.core.points import generator
from pellucid.core.site import Site

Print = tuple[int, ...]
"""What tells a row from others."""
OVERHEAD = 512
"""Bytes of an entry beside its numbers."""
WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int32}
"""What numbers of so many bytes are read as."""
AT_ONCE = 1 << 18
"""Numbers whose prints are computed at once: what a processor's cache holds."""


class Known:
    """What one model says of rows of one kind: all outputs of a row, under its print. The oldest are forgotten.

    most  bytes
    """

    def __init__(self, most: int) -> None:
        self.most, self.said = most, dict[Print, Tensor]()

    def __len__(self) -> int:
        return len(self.said)

    def answer(self, session: Session, rows: Rows, lane: Lane, apart: bool) -> Answer:
        """As `session.run`, of which only rows are asked that are not known; `Answer.whole` says how many.

        apart: rows are vectors of token ids, and their ids count too
        """
        if lane != SCORES:
            return session.run(rows, lane)
        keys = prints(rows, apart)
        place = {key: i for i, key in reversed([*enumerate(keys)])}  # the first of equal rows
        new = [i for key, i in place.items() if key not in self.said]
        found = {key: said for key in place if (said := self.said.get(key)) is not None}
        if new:
            index = torch.tensor(sorted(new), device=rows.b.device)
            fresh = session.run(_some(rows, index), lane).outputs.detach()
            found |= {keys[i]: said for i, said in zip(sorted(new), fresh.cpu().unbind(0), strict=True)}
            self._keep({keys[i]: found[keys[i]] for i in sorted(new)})
        outputs = torch.stack([found[key] for key in keys]).to(rows.b.device)
        return Answer(outputs, rows.objective(outputs, {}), whole=len(new))

    def expected(self, rows: Rows, many: int, apart: bool) -> int:
        """How many of `many` rows will be asked, as far as these tell."""
        keys = prints(rows, apart)
        return round(many * sum(key not in self.said for key in keys) / max(1, len(keys)))

    def _keep(self, fresh: Mapping[Print, Tensor]) -> None:
        self.said |= fresh
        each = max(OVERHEAD + said.numel() * said.element_size() for said in fresh.values())
        while len(self.said) * each > self.most:
            del self.said[next(iter(self.said))]


def prints(rows: Rows, apart: bool) -> list[Print]:
    """What tells every row from others: its own numbers, and its token ids where those are apart."""
    parts = [_hashed(rows.build())] + ([_hashed(rows.clean())] if apart else [])
    return [tuple(one) for one in torch.cat(parts, 1).tolist()]


def _hashed(x: Tensor) -> Tensor:
    """Σ_i m_i w_i mod 2⁶⁴ for two sets of random odd numbers m, w the words of a row; int64 [rows, 2].

    Two rows that differ have the same with a chance below 2⁻⁶⁰, whatever they hold [Carter & Wegman 1979].
    """
    flat = x.detach().contiguous().flatten(1)
    words = flat.view(WORDS[flat.element_size()])
    times = _times(words.shape[1], str(x.device))
    parts = words.split(max(1, AT_ONCE // words.shape[1]))
    return torch.cat([torch.stack([(w * m).sum(1) for m in times], 1) for w in (p.to(torch.int64) for p in parts)])


@lru_cache(maxsize=8)
def _times(count: int, device: str) -> Tensor:
    draw = generator("prints", count)
    return (torch.randint(-(2**62), 2**62, (2, count), generator=draw) * 2 + 1).to(device)


def _some(rows: Rows, index: Tensor) -> Rows:
    """Some of the rows, by their numbers; what is asked of them are raw outputs."""

    def nothing(outputs: Tensor, _: Mapping[Site, Tensor]) -> Tensor:
        return outputs.new_zeros((0, len(outputs)))

    if len(index) == rows.count:
        return Rows(rows.count, rows.build, rows.clean, rows.k, rows.b, nothing, 0)
    return Rows(
        len(index),
        lambda: rows.build()[index],
        lambda: rows.clean()[index],
        lambda: rows.k()[index],
        rows.b[index],
        nothing,
        0,
    )
