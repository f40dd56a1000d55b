"""Assertions about explanations, for anybody's tests: a model that was trained again should still look at the object.

from pellucid.testing import assert_mass_in
assert_mass_in(pellucid.explain(model, photo, "grad_cam")[0], mask, share=0.6)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.api.difference import diff
from pellucid.core import store
from pellucid.core.errors import InputError, PellucidError
from pellucid.core.explanation import Explanation, Explanations
from pellucid.ops.places import REDUCTIONS, per_place

Given = Explanation | Explanations | Sequence[Explanation]
BINS = " ▁▂▃▄▅▆▇█"
"""From nothing to the highest, for maps in words."""


class Unexpected(PellucidError, AssertionError):
    """An explanation is not as a test expects it."""


def assert_explanations_close(
    got: Given | str | Path,
    wanted: Given | str | Path,
    *,
    correlation: float = 0.99,
    overlap: float = 0.9,
    distance: float = 0.05,
    level: float = 0.05,
    strict: bool = False,
) -> None:
    """Fail unless every explanation is as it was, within the tolerances of `pellucid.diff`.

    got, wanted  explanations, or files and folders of them
    strict       the model, the parameters, and which explanations there are must be the same too
    Raises Unexpected with every difference in words, the worst first.
    """
    found = diff(wanted, got, correlation=correlation, overlap=overlap, distance=distance, level=level, strict=strict)
    if found.ok:
        return
    worst = sorted(found.beyond, key=lambda row: row.correlation)
    lines = [f"{row.image}, {row.method}, {row.target}: {'; '.join(row.beyond)}" for row in worst[:20]]
    lines += [f"… and {len(worst) - 20} more"] if len(worst) > 20 else []
    changed = dict.fromkeys(said for row in found for said in row.changed)
    raise Unexpected(
        "\n  ".join([f"{len(worst)} of {len(found)} explanations differ", *lines]),
        "\n  ".join(["what was there before", *found.facts(), *(f"changed: {said}" for said in changed)]),
        "look at both with pellucid.panel; if the change is meant, store the new ones",
    )


def assert_mass_in(explanation: Given, mask: Any, share: float, *, reduce: str = "auto") -> None:
    """Fail unless at least this share of the positive attribution lies in the mask, for every image.

    mask    bool [height, width] for all images, or [batch, height, width]; of the input's size, to which smaller
            maps are brought
    share   Σ_{i in the mask} a_i⁺ / Σ_i a_i⁺, at least; 0 to 1
    reduce  of channels: `sum`, `abs`, or `auto`: magnitudes of sensitivities, sums of everything else
    Raises Unexpected with the share, how large the mask is, and where the rest is; InputError for a mask that does not
    fit, or has nothing in it.
    """
    if not 0 < share <= 1 or reduce not in REDUCTIONS:
        raise InputError(f"share={share}, reduce={reduce!r}", f"a share above 0 and up to 1, one of {REDUCTIONS}")
    for e in _each(explanation):
        inside = _mask(mask, len(e))
        like = torch.empty(1, 1, *inside.shape[-2:], dtype=torch.float64)
        whole: Any = replace(e, values=e.values.double())
        positive = per_place(whole, like, reduce).clamp_min(0)
        for i, (values, here) in enumerate(zip(positive, inside, strict=True)):
            _mass(e, i, values, here, share)


def _mass(e: Explanation, i: int, values: Tensor, here: Tensor, share: float) -> None:
    total = float(values.sum())
    if total == 0 or total != total:
        raise Unexpected(
            f"{_who(e, i)} has no positive value that is a number, so no share of it lies in the mask",
            f"{share:.0%} in the mask",
            "assert_not_degenerate says more",
        )
    found, size = float(values[here].sum()) / total, float(here.double().mean())
    if found < share:
        top = int(values.argmax())
        y, x = divmod(top, values.shape[1])
        where = "in" if bool(here.flatten()[top]) else "outside"
        raise Unexpected(
            f"{_who(e, i)}: {found:.1%} of the positive attribution lies in the mask, {size:.1%} of the picture\n"
            f"  the highest value is at row {y}, column {x}, {where} the mask\n"
            + "\n".join(f"  {line}" for line in _drawn(values, here)),
            f"{share:.1%} or more",
            "look at it with pellucid.panel; a model that looks at the background may have learnt a shortcut",
        )


def assert_not_degenerate(explanation: Given) -> None:
    """Fail where a map is constant or not finite, or where one of its own checks is red.

    Raises Unexpected with all of them.
    """
    wrong: list[str] = []
    for e in _each(explanation):
        for i in range(len(e)):
            flat = e.values[i].double().flatten()
            broken = int((~flat.isfinite()).sum())
            if broken:
                wrong.append(f"{_who(e, i)}: {broken} of {flat.numel()} values are not finite")
            elif flat.numel() > 1 and bool((flat == flat[0]).all()):
                wrong.append(f"{_who(e, i)}: all {flat.numel()} values are {float(flat[0]):g}")
            elif flat.numel() == 1 and not float(flat[0]):
                wrong.append(f"{_who(e, i)}: the only value is 0")
        wrong += [f"{e.record.method} of {said}" for said in e.warnings if ": degenerate " not in said]
    if wrong:
        raise Unexpected(
            "\n  ".join([f"{len(wrong)} explanations or checks are broken", *wrong[:20]]),
            "finite maps that vary, and green checks",
            "pellucid.doctor(model, input) says what may be wrong with the model",
        )


class Snapshot:
    """Compares explanations with those stored in a file, or stores them; see the fixture `explanation_snapshot`."""

    def __init__(self, folder: Path, test: str, update: bool) -> None:
        self.folder, self.test, self.update = folder, test, update
        self.count = 0

    def __call__(self, explanation: Given, name: str | None = None, **tolerances: Any) -> None:
        """Fail unless they are close to the stored ones; tolerances as in `assert_explanations_close`.

        name  of the file, without its ending; the test's own by default, numbered from the second on
        """
        self.count += 1
        usual = self.test if self.count == 1 else f"{self.test}-{self.count}"
        file = self.folder / f"{_plain(name or usual)}.safetensors"
        entries = Explanations(tuple(_each(explanation)))
        if self.update:
            store.save(entries, file, overwrite=True)
            return
        if not file.exists():
            raise Unexpected(
                f"there is no stored explanation {file}",
                "one to compare with",
                "run pytest with --pellucid-update, look at what it stores, and commit the file",
            )
        try:
            assert_explanations_close(entries, file, **tolerances)
        except Unexpected as error:
            raise Unexpected(error.got, error.wanted, f"{error.do}: pytest --pellucid-update, in {file}") from None


def _each(given: Given) -> Iterator[Explanation]:
    found: Any = (given,) if isinstance(given, Explanation) else given
    if not isinstance(found, Sequence) or not found:
        raise InputError(f"a {type(given).__name__}", "an explanation, or several")
    for one in found:
        if not isinstance(one, Explanation):
            raise InputError(f"a {type(one).__name__} among explanations", "explanations")
        yield one


def _mask(mask: Any, count: int) -> Tensor:
    """Bool [batch, height, width]."""
    made = torch.as_tensor(mask)
    if made.dtype != torch.bool or made.ndim not in (2, 3):
        raise InputError(
            f"a mask of {made.dtype} with shape {tuple(made.shape)}", "bool [height, width] or [batch, height, width]"
        )
    made = made.expand(count, *made.shape) if made.ndim == 2 else made
    if len(made) != count:
        raise InputError(f"{len(made)} masks for {count} images", "one for each, or one for all")
    if not bool(made.flatten(1).any(1).all()):
        raise InputError("a mask with nothing in it", "at least one place")
    return made.cpu()


def _drawn(values: Tensor, here: Tensor, rows: int = 8, columns: int = 24) -> list[str]:
    """The map in letters, and beside it the mask."""
    pool = torch.nn.functional.adaptive_avg_pool2d
    size = (min(rows, values.shape[0]), min(columns, values.shape[1]))
    small, inside = pool(values[None], size)[0], pool(here.double()[None], size)[0]
    level = (small / small.max().clamp_min(1e-300) * (len(BINS) - 1)).round().long().tolist()
    return [
        "|" + "".join(BINS[n] for n in line) + "|  mask |" + "".join("█" if m >= 0.5 else " " for m in mask) + "|"
        for line, mask in zip(level, inside.tolist(), strict=True)
    ]


def _who(e: Explanation, i: int) -> str:
    return f"{e.record.method} of {e.inputs.name[i]} ({e.target.name[i]})"


def _plain(name: str) -> str:
    """A file name of letters, digits, dots, lines and dashes."""
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name).lstrip(".")[:120] or "unnamed"
    )
