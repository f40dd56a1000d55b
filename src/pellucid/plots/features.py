"""The weights of features as bars, one facet for every case and label."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.core.errors import InputError, ParameterError
from pellucid.plots.bars import Colours, bar_figure, facet_of
from pellucid.plots.rows import Asked, cases_of, rows_of, strip
from pellucid.views.figure import Figure
from pellucid.views.words import plain

STEELBLUE, FIREBRICK = "#4682b4", "#b22222"


def plot_features(
    explanation: Asked,
    ncol: int = 2,
    cases: str | int | Sequence[str | int] | None = None,
    n_features: int = 10,
) -> Figure:
    """The strongest features of every case and label, as bars on one scale; lines reach over 95 % intervals.

    explanation  with features: superpixels, columns, words
    ncol         facets beside each other
    cases        which cases: names, or numbers from 1; None for all
    n_features   bars of a facet, at most; a facet says how many it leaves out
    Raises InputError for cases that are not there or what has no features, ParameterError for numbers below 1.
    """
    if ncol < 1 or n_features < 1:
        raise ParameterError(f"ncol={ncol}, n_features={n_features}", "1 or more of each")
    rows = rows_of(explanation)
    names = cases_of(rows)
    asked = names if cases is None else [cases] if isinstance(cases, str | int) else cases
    wanted = [_case(one, names) for one in asked]
    kept = [row for name in wanted for row in rows if row.inputs.name[0] == name]
    several = len({row.record.method for row in kept}) > 1
    facets = [facet_of(row, strip(row, case=len(names) > 1, method=several), n_features) for row in kept]
    labels = ", ".join(dict.fromkeys(plain(row.target.name[0]) for row in kept))
    alt = f"Weights of features for {labels} in {len(wanted)} cases."
    return bar_figure(facets, Colours(up=STEELBLUE, down=FIREBRICK), ncol, "Weight", alt)


def _case(which: str | int, names: Sequence[str]) -> str:
    if isinstance(which, int) and 1 <= which <= len(names):
        return names[which - 1]
    if isinstance(which, int) or which not in names:
        raise InputError(f"case {which!r}", f"a number from 1 to {len(names)}, or one of {', '.join(names[:6])}")
    return which
