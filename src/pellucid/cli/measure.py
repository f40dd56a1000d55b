"""`pellucid measure`: explain and measure at once, or measure what was explained before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli import text
from pellucid.cli.app import Verb
from pellucid.cli.explain import tell_failed
from pellucid.cli.files import STORE
from pellucid.cli.inputs import given
from pellucid.cli.job import Job, look_up
from pellucid.cli.masks import masks_of
from pellucid.cli.model import BUNDLED, load_model
from pellucid.cli.request import Request, Setting, request_options
from pellucid.cli.talk import Talk, progress, talk_options
from pellucid.core.errors import FileExists, InputError

if TYPE_CHECKING:
    from pellucid.adapters import Handle
    from pellucid.core.explanation import Explanation
    from pellucid.core.measurements import Measurement, Measurements
    from pellucid.core.metric import Metric

EXAMPLES = (
    "pellucid measure photos/ -m integrated_gradients,grad_cam --controls",
    "pellucid measure timm:resnet50 cat.png -m cams --metric faithfulness --param deletion.steps=64",
    "pellucid measure photos/ -m grad_cam --metric localisation --masks masks/",
    "pellucid measure out --model timm:resnet50 --metric deletion,max_sensitivity    what explain -o out has written",
)
IDLE = ("methods", "targets", "versus", "top_k", "output", "at", "seed", "tolerance", "budget")
"""What says how to explain; of no use where that is done."""
INDEX = "explanations.json"
"""In the folders of `explain(save=...)`."""


@click.command("measure", cls=Verb, examples=EXAMPLES)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="A metric, a list a,b,c or a family: faithfulness, robustness, localisation, complexity, axiomatic, "
    "randomisation, agreement; may be repeated. Their parameters: --param deletion.steps=64. "
    "Default: deletion,insertion.",
)
@click.option(
    "--masks",
    metavar="FOLDER",
    help="Where the object is, for metrics of localisation: pictures with the photos' names and sizes, black outside.",
)
@click.option(
    "--compat",
    type=click.Choice(("captum", "quantus", "rise", "xplique")),
    help="Metrics as that library defines them, where it is sound: parameters, and the number looked at.",
)
@click.option("--controls", is_flag=True, help="Measure a random map, the photo's edges and its centre beside them.")
@click.option("--plan", "planned", is_flag=True, help="Only tell what it would cost, before it is done.")
@click.option("-o", "--output-file", "place", metavar="FILE.json", help="Keep the numbers, for Measurements.read.")
@click.option("--overwrite", is_flag=True, help="Replace that file; refused otherwise.")
@talk_options
@request_options
def command(talk: Talk, request: Request, metrics: tuple[str, ...], masks: str | None, **keep: Any) -> None:
    """Measure how far explanations can be trusted.

    INPUT is what `explain` takes: it is explained, and the explanations are measured. Or it is one folder, or one
    .safetensors file, that `explain -o` has written; then --model names the model that was explained.
    """
    controls, compat, to = keep["controls"], keep["compat"], _place(keep["place"], keep["overwrite"])
    if len(request.models) > 1:
        raise click.UsageError(f"{len(request.models)} models: explanations are measured on the model they explain.")
    chosen, request = metrics_of(metrics, request, compat)
    if keep["planned"]:
        _plan(request, chosen, controls, talk)
        return
    refuse_without_masks(chosen, masks)
    import pellucid

    with progress(talk) as shown:
        handle, them, where, job = _saved(request, masks) or _explained(request, masks, talk, shown)
        inputs = None if job is None else given(request.inputs, job.models).each  # read again, rather than all kept
        got = pellucid.measure(
            handle, them, chosen, inputs=inputs, masks=where, controls=controls, compat=compat, progress=shown,
            methods=() if job is None else job.methods,
        )  # fmt: skip
    talk.say(told(got))
    if to is not None:
        talk.say(f"\n{click.style('wrote', bold=True)} {text.clean(str(got.save(to, overwrite=keep['overwrite'])))}")
    talk.document(document(got, () if job is None else job.reasons))
    if job is not None and job.given.failed:
        tell_failed(job, talk)


def _plan(request: Request, chosen: tuple[Metric, ...], controls: bool, talk: Talk) -> None:
    """What measuring would cost: of what was explained before by itself, else with the explaining."""
    import pellucid

    job = None
    if saved := _saved(request, None):
        found = pellucid.plan(saved[0], saved[1], metrics=chosen, controls=controls)
    else:
        job = look_up(request, talk)
        found = pellucid.plan(job.models[0], job.inputs, job.methods, metrics=chosen, controls=controls, **job.options)
    talk.say(str(found))
    talk.document({"schema": 1, **asdict(found), "failed": job.reasons if job else []})
    if job is not None and job.given.failed:
        tell_failed(job, talk)


def metrics_of(words: Sequence[str], request: Request, compat: str | None) -> tuple[tuple[Metric, ...], Request]:
    """The metrics with their own --param, and the request with the others."""
    from pellucid import api, registry

    named = [part.strip() for word in words for part in word.split(",")] or api.METRICS
    made = registry.make_metrics(named) if compat is None else [m for m, _ in registry.compatible(named, compat)]
    names = [m.about.name for m in made]
    own = [(registry.find_metric(s.method).about.name, s) for s in request.settings if _is_metric(s)]
    for name, setting in own:
        if name not in names:
            raise click.UsageError(f"--param {setting.method}.{setting.parameter}: the metrics are {', '.join(names)}.")
    params = {name: {s.parameter: s.value for known, s in own if known == name} for name in names}
    rest = tuple(s for s in request.settings if not _is_metric(s))
    return tuple(registry.make_metric(m, params[m.about.name]) for m in made), replace(request, settings=rest)


def _is_metric(setting: Setting) -> bool:
    from pellucid.core.metric import METRICS

    return setting.method.replace("-", "_") in METRICS


def refuse_without_masks(metrics: Sequence[Metric], masks: str | None) -> None:
    """Raise, before anything is computed, where metrics and masks do not go together."""
    wanting = [m.about.title for m in metrics if "mask" in m.about.wants]
    if wanting and masks is None:
        raise click.UsageError(f"{', '.join(wanting)}: --masks FOLDER has to say where the object is.")
    if masks is not None and not wanting:
        raise click.UsageError("--masks has no meaning here: no chosen metric looks at masks.")


def _place(given: str | None, overwrite: bool) -> Path | None:
    if given is None:
        if overwrite:
            raise click.UsageError("--overwrite without --output-file: there is nothing to write.")
        return None
    path = Path(given).expanduser()
    if path.suffix.lower() != ".json":
        raise click.UsageError(f"-o {given}: a file that ends in .json.")
    if path.exists() and not overwrite:
        raise FileExists(f"{path} is in the way", do="choose another place with -o, or give --overwrite")
    return path


# -- what is measured ------------------------------------------------------------------------------------------

What = tuple["Handle", "Sequence[Explanation]", list[Any] | None, Job | None]


def _explained(request: Request, masks: str | None, talk: Talk, shown: Any) -> What:
    """Explain first. Masks are looked at before."""
    import pellucid

    job = look_up(request, talk)
    model, where = job.models[0], None
    if masks is not None:
        if job.given.what != "photo":
            raise click.UsageError("--masks has no meaning for texts.")
        sizes = {photo.name: (photo.height, photo.width) for photo in given(request.inputs, job.models).each}
        where = masks_of(masks, sizes, model.preprocess)
    return model, pellucid.explain(model, job.inputs, job.methods, **job.options, progress=shown), where, job


def _saved(request: Request, masks: str | None) -> What | None:
    """What was explained before; None where the words name photos or texts."""
    run = _run(request.inputs)
    if run is None:
        return None
    idle = [name for name in IDLE if getattr(request, name) not in (None, ())]
    if idle or request.settings:
        named = ", ".join(
            name.rstrip("s").replace("_", "-") for name in [*idle, *(["params"] * bool(request.settings))]
        )
        raise click.UsageError(f"{named}: of no use for {request.inputs[0]}, which is explained already.")
    import pellucid

    them = pellucid.read(run)
    model = them[0].record.model.name
    if request.models == (BUNDLED,) and model != BUNDLED:  # never loaded by what stands in a file
        raise InputError(f"{run} explains {text.clean(model)}, and no model is given", do="name it with --model")
    handle = load_model(request.models[0], request.pretrained, request.rows, request.evaluate)
    if masks is None:
        return handle, them, None, None
    return handle, them, masks_of(masks, dict.fromkeys(them[0].inputs.name), handle.preprocess), None


def _run(words: Sequence[str]) -> Path | None:
    """The file of explanations that the only word names, by itself or by its folder."""
    for path in (Path(os.path.expanduser(word)) for word in words):
        inside = next((path / name for name in (STORE, INDEX) if (path / name).is_file()), None)
        if inside is not None or path.suffix.lower() == ".safetensors":
            if len(words) > 1:
                raise click.UsageError(f"{path} holds explanations: it is measured by itself.")
            return path if inside is None or inside.name == INDEX else inside
    return None


# -- what came out ---------------------------------------------------------------------------------------------


def told(got: Measurements) -> str:
    """Tables as wide as the terminal, the reasons of what has no value, and the work."""
    passes, seconds = got[0].passes, got[0].seconds
    lines = ["\n\n".join(map(str, _blocks(got))), ""]
    lines.append(text.quiet(text.wrap("mean over the inputs ± standard error; ↑ more is better, ↓ less; * the best")))
    if any(m.in_sample for m in got):
        lines.append(text.wrap("° in sample: method and metric hide with the same fill; give the metric another"))
    lines += [text.wrap(f"– {one}", "  ") for one in dict.fromkeys(_silent(m) for m in got if len(m.known) < len(m))]
    work = f"{passes.forward} rows forward, {passes.backward} backward, {seconds:.1f} s for measuring"
    return "\n".join([*lines, text.quiet(work)])


def _blocks(got: Measurements) -> list[Measurements]:
    """As many metrics side by side as fit the terminal."""
    from pellucid.core.measurements import Measurements

    def some(names: Sequence[str]) -> Measurements:
        return Measurements(tuple(m for m in got if m.metric in names))

    blocks: list[list[str]] = []
    for name in got.metrics:
        if blocks and max(map(len, str(some([*blocks[-1], name])).splitlines())) <= text.width():
            blocks[-1].append(name)
        else:
            blocks.append([name])
    return [some(names) for names in blocks]


def _silent(m: Measurement) -> str:
    why = dict.fromkeys(reason for reason in m.reasons if reason)
    gone = len(m) - len(m.known)
    return f"{m.title} of {text.clean(m.judged.title)}: {gone} of {len(m)} without a value: {'; '.join(why)}"


def document(got: Measurements, failed: Sequence[str]) -> dict[str, Any]:
    """All numbers; null where there is none, with its reason."""
    return {
        "schema": 1,
        "model": asdict(got[0].model),
        "passes": asdict(got[0].passes),
        "seconds": got[0].seconds,
        "measurements": [_entry(m) for m in got],
        "failed": list(failed),
    }


def _entry(m: Measurement) -> dict[str, Any]:
    whole = asdict(m)
    shared = ("model", "passes", "seconds")
    return {"mean": m.mean, "error": m.error, **{key: value for key, value in whole.items() if key not in shared}}
