"""From what is written on the command line to a model."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import click

from pellucid.core.errors import InputError, nearest

if TYPE_CHECKING:
    from pellucid.adapters import Handle

BUNDLED = "efficientnet_lite0"
PLACES = ("timm", "torchvision", "hf", "keras")
FACTORY = re.compile(r"([A-Za-z_]\w*(\.\w+)*|[^:]+\.py):[A-Za-z_]\w*")
HELP = (
    f"{BUNDLED} (the default), timm:NAME, torchvision:NAME[@WEIGHTS], hf:OWNER/NAME or hf:FOLDER (classifiers of "
    "images or of texts), keras:FILE.keras, or package.module:factory or FILE.py:factory, a "
    "function of your own that returns a torch.nn.Module, a text-classification pipeline or a handle from "
    "pellucid.wrap; it is the only form that runs code of yours."
)


def looks_like_a_model(word: str) -> bool:
    """Whether a positional argument names a model rather than a file."""
    place = word.partition(":")[0]
    return not os.path.exists(word) and (word == BUNDLED or place in PLACES or FACTORY.fullmatch(word) is not None)


def load_model(
    name: str,
    pretrained: bool = True,
    rows: int | Literal["auto"] = "auto",
    evaluate: Literal["auto", "plain", "prepared"] = "auto",
) -> Handle:
    """The model of that name; see HELP for the names.

    pretrained  False for random weights, where the source of the model knows such
    rows        model rows at once
    evaluate    whether the verified, faster form of the model may be used
    Raises InputError when it cannot be had, UsageError for options that a factory cannot heed.
    """
    import pellucid

    if FACTORY.fullmatch(name) and name.partition(":")[0] not in PLACES:
        if not pretrained:
            raise click.UsageError(f"--no-pretrained has no meaning for {name}: the function decides on its weights.")
        handle = _from_factory(name)
    else:
        handle = pellucid.load(name, pretrained=pretrained)
    handle.most_rows, handle.evaluate = rows, evaluate
    return handle


def _from_factory(name: str) -> Handle:
    from torch import nn

    from pellucid import api
    from pellucid.adapters import Handle
    from pellucid.adapters.pipelines import is_pipeline

    where, _, what = name.partition(":")
    made: Any = _found(_imported(where), what)
    if not isinstance(made, (nn.Module, Handle)) and callable(made) and not is_pipeline(made):
        try:
            made = made()
        except Exception as error:
            raise InputError(f"{name}() fails: {type(error).__name__}: {error}", do="-vv shows where") from error
    if isinstance(made, nn.Module) or is_pipeline(made):
        return api.wrap(made, name=name)
    model: Any = made
    return api.as_model(model)


def _imported(where: str) -> ModuleType:
    """A module of the user's, from the current folder too."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return _of_file(Path(where)) if where.endswith(".py") and Path(where).is_file() else import_module(where)
    except ModuleNotFoundError as error:
        missing = f"{error.name}"
        if where == missing or where.startswith(f"{missing}."):
            do = "check the name; it is looked for in this folder and among the installed packages"
            raise InputError(f"no module {missing!r}", "package.module:factory", do) from error
        raise InputError(f"{where} needs the module {missing!r}, which is not installed") from error
    except Exception as error:
        got = f"{where} cannot be imported: {type(error).__name__}: {error}"
        raise InputError(got, do="-vv shows where") from error


def _of_file(path: Path) -> ModuleType:
    """What a file of Python code defines, with its folder among those that it may import from."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(name=str(path))
    made = module_from_spec(spec)
    sys.modules.setdefault(path.stem, made)  # what is pickled or hashed is looked up by its name
    if str(path.parent.resolve()) not in sys.path:
        sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(made)
    return made


def _found(module: ModuleType, what: str) -> Any:
    if not hasattr(module, what):
        near = nearest(what, [name for name in vars(module) if not name.startswith("_")])
        raise InputError(
            f"{module.__name__} has no {what!r}",
            "a function that returns a torch.nn.Module, or a handle from pellucid.wrap",
            f"perhaps {near}" if near else "",
        )
    return getattr(module, what)
