"""From words to what will be done: models, methods and classes are looked up before any input is read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli.inputs import Given, given, refuse_missing
from pellucid.cli.model import load_model
from pellucid.cli.request import Request, Setting
from pellucid.cli.talk import Talk
from pellucid.cli.text import clean

if TYPE_CHECKING:
    from pellucid.adapters import Handle
    from pellucid.core.method import Method
    from pellucid.core.site import Site


@dataclass(slots=True)
class Job:
    """A request, looked up."""

    models: tuple[Handle, ...]
    methods: tuple[Method, ...]
    given: Given
    options: dict[str, Any]
    """target, versus, top_k, output, tolerance and budget, as the verbs take them."""

    @property
    def inputs(self) -> Any:
        """The photos, one at a time, the texts, or a frame of rows."""
        return self.given.each

    @property
    def listed(self) -> Any:
        """All of them at once, for what looks at them more than once."""
        return self.given.each if self.given.what == "row" else list(self.given.each)

    @property
    def reasons(self) -> list[str]:
        """One line per input that could not be read."""
        return [" ".join(str(error).split()) for error in self.given.failed]


def look_up(request: Request, talk: Talk) -> Job:
    """Raises PellucidError, before anything is computed, for what does not exist; UsageError for idle options.

    talk  where it is said that texts were cut
    """
    from pellucid import api

    methods = _methods(request, request.methods) if request.methods else ()
    refuse_missing(request.inputs)
    handles = tuple(load_model(one, request.pretrained, request.rows, request.evaluate) for one in request.models)
    for handle in handles:
        for word in (*request.targets, *(() if request.versus is None else (request.versus,))):
            names = handle.labels.names
            handle.labels.find(word, sys.maxsize if names is None else len(names))
    inputs = given(request.inputs, handles)
    methods = methods or _methods(request, api.default(handles[0]))
    for note in inputs.notes:
        talk.warn(clean(note))
    options = {
        "target": list(request.targets) or None,
        "versus": request.versus,
        "top_k": request.top_k,
        "output": request.output,
        **{name: value for name in ("tolerance", "budget") if (value := getattr(request, name)) is not None},
    }
    return Job(handles, methods, inputs, options)


def _methods(request: Request, words: Sequence[str]) -> tuple[Method, ...]:
    return chosen(words, request.settings, request.at, request.seed)


def chosen(
    words: Sequence[str], settings: Sequence[Setting], at: str | None = None, seed: int | None = None
) -> tuple[Method, ...]:
    """Methods by name, list or group, each once, with the parameters given for them.

    settings  by the same word, or by the method's registry name for all its variants
    at, seed  for every method with such a parameter for which it is not set by itself
    Raises ParameterError for unknown names and bad values, UsageError for what no method would heed.
    """
    from pellucid import registry

    listed = _expanded(words)
    classes = [registry.find(word) for word in listed]
    general = {"at": at, "seed": seed}
    for name, value in general.items():
        if value is not None and not any(name in _fields(cls) for cls in classes):
            raise click.UsageError(f"--{name} has no meaning here: no chosen method has the parameter {name}.")
    for one in settings:
        if not any(_meant(one, word, cls) for word, cls in zip(listed, classes, strict=True)):
            raise click.UsageError(f"--param {one.method}.{one.parameter}: the methods are {', '.join(listed)}.")
    made: list[Method] = []
    for word, cls in zip(listed, classes, strict=True):
        params: dict[str, Any] = {k: v for k, v in general.items() if v is not None and k in _fields(cls)}
        params |= {s.parameter: s.value for s in settings if _meant(s, word, cls)}
        if "at" in params:
            params["at"] = _site(params["at"])
        made.append(registry.make(word, params))
    return tuple(one for i, one in enumerate(made) if one not in made[:i])


def _site(text: str) -> Site | str | None:
    """A layer by its name, which may well be a number; `none` is the input, and text with commas means several."""
    from pellucid.core.site import as_site

    if "," in text:
        return text
    return None if text.lower() == "none" else as_site(text)


def _expanded(words: Sequence[str]) -> list[str]:
    from pellucid import registry

    parts = [part.strip() for word in words for part in word.split(",") if part.strip()]
    listed = [name for part in parts for name in registry.GROUPS.get(part.lower(), (part,))]
    if not listed:
        raise click.UsageError("--method names no method.")
    return listed


def _meant(setting: Setting, word: str, cls: type[Any]) -> bool:
    """Whether the setting is for the method chosen by that word: the word itself, or its class by any name."""
    from pellucid import registry

    if setting.method == word:
        return True
    variant = setting.method in registry.SHORT and registry.SHORT[setting.method][1]
    return not variant and registry.find(setting.method) is cls


def _fields(cls: type[Any]) -> tuple[str, ...]:
    from pellucid import registry

    return tuple(parameter.name for parameter in registry.parameters(cls))
