"""Regions by name, by value, or as a label map."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pellucid.core.errors import InputError, ParameterError, nearest
from pellucid.regions.cells import Cells
from pellucid.regions.felzenszwalb import Felzenszwalb
from pellucid.regions.given import Labels
from pellucid.regions.quickshift import Quickshift
from pellucid.regions.slic import Slic
from pellucid.regions.spelled import Spelled

NAMES: dict[str, type[Any]] = {"cells": Cells, "slic": Slic, "quickshift": Quickshift, "felzenszwalb": Felzenszwalb}
_OURS = {"n_superpixels": "n", "n_iter": "iterations", "compactness": "weight", "min_size": "least"}
"""Words of R's lime and of scikit-image, and ours."""


def as_regions(what: Any) -> Callable[[Tensor], Tensor]:
    """A region maker.

    what  a name: `slic`, `cells`, `quickshift`, `felzenszwalb`, or with parameters, `slic(n=80)`, `cells(4, 6)`; one
          of the classes' values; a label map; or any function of the pixels that gives one.
    Raises ParameterError for anything else.
    """
    if isinstance(what, str):
        return _named(what)
    if isinstance(what, type) or what is None:
        raise ParameterError(f"{what!r} as regions", "a value", "regions='slic', or Slic(n=80)")
    return what if isinstance(what, Spelled) or callable(what) else Labels(what)  # pyright: ignore


def cut(what: Any, pixels: Tensor) -> Tensor:
    """The regions of pictures in pixel units: int64 [batch, height, width], each picture's 0 … n − 1, on the CPU.

    Raises ParameterError for regions that do not fit, InputError for rows that are no pictures.
    """
    if pixels.ndim != 4:
        raise InputError(f"rows of shape {tuple(pixels.shape[1:])}", "pictures [channel, height, width]")
    maker = as_regions(what)
    labels = maker(pixels)
    return labels if isinstance(maker, Spelled) else Labels(labels)(pixels)


def _named(text: str) -> Callable[[Tensor], Tensor]:
    name = text.partition("(")[0].strip().lower()
    if name not in NAMES:
        near = nearest(name, NAMES)
        raise ParameterError(
            f"regions {text!r}",
            f"one of {', '.join(NAMES)}, also with parameters: slic(n=80); or a label map",
            f"perhaps {near}" if near else "",
        )
    places, words = _given(text)
    try:
        return NAMES[name](*places, **words)
    except TypeError as error:
        raise ParameterError(f"regions {text!r}", f"{NAMES[name]().__name__}, or some of its parameters") from error


def _given(text: str) -> tuple[list[Any], dict[str, Any]]:
    """The parameters that are written behind a name, by place and by word."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            return [], {}
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise SyntaxError(text)
        places = [ast.literal_eval(one) for one in call.args]
        return places, {_OURS.get(str(one.arg), str(one.arg)): ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ParameterError(f"regions {text!r}", "a name, or a name with parameters: slic(n=80, weight=10)") from error
