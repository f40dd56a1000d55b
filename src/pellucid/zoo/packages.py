"""Optional packages: whether they are there, and how to get them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from pellucid.core.errors import InputError


def installed(package: str) -> bool:
    """Whether a top-level package can be found; nothing is imported."""
    return find_spec(package) is not None


def need(package: str, extra: str, what: str) -> ModuleType:
    """Import a package, or say how to install it.

    package  dotted name of the module
    extra    the extra of pellucid that brings it
    what     what it is wanted for: "The model 'timm:resnet18'"
    Errors: InputError if it is missing or does not fit the other packages here.
    """
    top = package.partition(".")[0]
    if not installed(top):
        raise InputError(
            f"{what} needs the package {top}, which is not installed.", "", f'pip install "pellucid[{extra}]".'
        )
    try:
        return import_module(package)
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision built for another torch
        raise InputError(
            f"{what} needs the package {top}, which cannot be imported ({error}).",
            f"a {top} that fits the torch installed here.",
            f'install both from one place: pip install --upgrade "pellucid[{extra}]" torch.',
        ) from error
