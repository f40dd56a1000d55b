"""The sanity suite: does a method depend on the model, the class, and on nothing else?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from pellucid import api, registry
from pellucid.adapters import Handle
from pellucid.api.progress import Progress
from pellucid.api.waves import listed
from pellucid.core.ask import Can
from pellucid.core.errors import ParameterError, nearest
from pellucid.core.method import Explains
from pellucid.core.sanity import TESTS, Sanity, judged
from pellucid.core.target import Output

Asked = Any


def sanity(
    model: Handle | nn.Module | str,
    inputs: Any,
    methods: str | Explains | type[Any] | Iterable[str | Explains | type[Any]] = api.DEFAULT,
    *,
    tests: Iterable[str] | None = None,
    steps: int = 5,
    seed: int = 0,
    target: Asked = None,
    output: Output | None = None,
    progress: Progress | None = None,
) -> Sanity:
    """Would the method tell a trained model from a random one? All tests of all methods, with verdicts.

    Randomised weights: layers are redrawn from the output down, in `steps` steps, and the signed maps are ranked; the
    largest mean |rank correlation| of any step must not be above 0.5. Other class: not above 0.9. Shifted input: the
    same function in other units may change the map by a tenth. Other seed: by half, of methods that draw. Other
    methods: told, without a verdict. Within a standard error of a limit the verdict is unclear.

    model, inputs, methods, target, output  as in `explain`; ten inputs say more than one
    tests   names of those wanted; None takes all that the model allows
    Costs `steps` + 3 further explanations of every method, and 4 more of those that draw.
    Returns Sanity; its `explanations` carry the verdicts among their checks, so that reports show them.
    """
    handle = api.as_model(model)
    wanted = _wanted(handle, tests)
    chosen = registry.make_all(api.default(handle) if methods is api.DEFAULT else methods)
    inputs = listed(inputs)
    got = api.explain(handle, inputs, chosen, target=target, output=output)
    known = [registry.make_metric(name) for name in wanted if name != "parameter_randomisation"]
    if "parameter_randomisation" in wanted:
        known.insert(0, registry.make_metric("parameter_randomisation", {"steps": steps, "seed": seed}))
    measured = api.measure(handle, got, known, inputs=inputs, methods=chosen, progress=progress)
    return judged(tuple(measured), tuple(got))


def _wanted(handle: Handle, tests: Iterable[str] | None) -> list[str]:
    """The metrics of the tests asked for. Raises ParameterError for an unknown test."""
    if tests is not None:
        known = {t.name: t.metric for t in TESTS} | {t.metric: t.metric for t in TESTS}
        named = [tests] if isinstance(tests, str) else list(tests)
        for name in named:
            if name not in known:
                near = nearest(name, known)
                raise ParameterError(f"test {name!r}", f"one of {', '.join(t.name for t in TESTS)}", near)
        return [known[name] for name in named]
    able = handle.can | {Can.SCORE}
    return [t.metric for t in TESTS if registry.find_metric(t.metric).about.needs <= able]
