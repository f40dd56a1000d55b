"""Examinations of what the model answers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pellucid.adapters import FunctionModel
from pellucid.api.checkup.patient import SEED, NotExamined, Patient, first_line
from pellucid.core.diagnosis import Finding
from pellucid.core.errors import NonFinite, SiteError
from pellucid.core.points import generator
from pellucid.core.site import AUTO
from pellucid.preprocess import Table

APART = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""How far the scores of a row may differ, beside other rows, relative to their spread: rounding, and nothing else."""

COARSE = 4
"""Places of a map, below which it says little about where."""


def runs(patient: Patient) -> Iterator[Finding]:
    """Does the model run, and are its answers finite?"""
    try:
        raw = patient.raw(patient.rows)
    except NotExamined:
        raise
    except NonFinite:
        raw = torch.full((1, 1), torch.nan)
    except Exception as error:  # noqa: BLE001 - whatever somebody's model raises is the finding
        patient.seen["fails"] = True
        yield Finding(
            name="does_not_run",
            severity="error",
            says="the model fails on the rows that it is given",
            evidence={"row": tuple(patient.rows.shape[1:]), "error": first_line(error)},
            fix="check size, channels and type of the rows: wrap(model, Preprocess(...), outputs=...)",
        )
        return
    broken = int((~raw.isfinite()).sum())
    if broken:
        patient.seen["fails"] = True
        x = patient.rows
        yield Finding(
            name="not_finite",
            severity="error",
            says="the model answers with NaN or infinity",
            evidence={"values": broken, "lowest input": float(x.min()), "highest input": float(x.max())},
            fix="check the range of the rows (mean, std, scale), then the weights",
        )


def head(patient: Patient) -> Iterator[Finding]:
    """Does it end in a softmax or a sigmoid?"""
    emits, headed = patient.emits()
    raw = patient.raw(patient.rows)
    total = float((raw.sum(1) - 1).abs().max())
    if headed:
        yield Finding(
            name="softmax_head",
            severity="note",
            says="the model ends in a softmax; explanations take it off, and explain its input as the logit",
            evidence={"largest |sum − 1| of the outputs": total, "highest output": float(raw.max())},
            fix="nothing to do here; for your own gradients return the logits",
        )
    elif emits == "probabilities":
        yield Finding(
            name="probabilities",
            severity="note" if isinstance(patient.handle, FunctionModel) else "warning",
            says="the outputs are probabilities, and what made them cannot be taken off: their logarithm is explained",
            evidence={"largest |sum − 1| of the outputs": total, "highest output": float(raw.max())},
            fix="return logits, if the model can",
        )


def randomness(patient: Patient) -> Iterator[Finding]:
    """Does the same row get the same answer twice?"""
    first, second = patient.raw(patient.rows), patient.raw(patient.rows)
    draws: frozenset[str] = frozenset()
    if not isinstance(patient.handle, FunctionModel):
        with patient.session() as session:
            draws = session.ready.facts.draws
    gap = float((first - second).abs().max())
    if draws or gap > 0:
        patient.seen["random"] = True
        yield Finding(
            name="random_in_eval",
            severity="warning",
            says="the model draws random numbers in eval mode: the same row gets other answers",
            evidence={"largest difference of two runs": gap, "spread of the scores": _spread(first)}
            | ({"draws from": ", ".join(sorted(draws))} if draws else {}),
            fix="F.dropout(x, p, self.training), or a module nn.Dropout; a fixed seed for samplers",
        )


def rows_apart(patient: Patient) -> Iterator[Finding]:
    """Is a row's answer the same, whatever stands beside it?"""
    if "random" in patient.seen:
        raise NotExamined("the model is random")
    x = _beside(patient)
    together, alone = patient.raw(x), torch.cat([patient.raw(row[None]) for row in x])
    gap = float((together - alone).abs().max()) / max(_spread(alone), 1e-12)
    limit = APART.get(patient.handle.dtype, 1e-3)
    if gap > limit:
        yield Finding(
            name="rows_see_each_other",
            severity="error",
            says="a row's scores depend on the other rows of its batch",
            evidence={"largest difference, relative to the spread of the scores": gap, "limit": limit},
            fix="no statistics over the batch in eval mode: BatchNorm with track_running_stats, no x.mean(0)",
        )


def _beside(patient: Patient) -> Tensor:
    """Three different rows: those given, others of their table, or mirror images and shuffles."""
    x, table = patient.rows, patient.handle.preprocess
    if isinstance(table, Table):  # not every number is a category
        return torch.cat([x[:3], table.background[:3].to(x)])[:3]
    rows = [x[:3]] if not x.is_floating_point() else [x[:3], x[:1].flip(-1), 0.5 * x[:1]]
    if not x.is_floating_point():
        order = torch.randperm(x.shape[1], generator=generator(SEED, "beside")).to(x.device)
        rows.append(x[:1, order])
    return torch.cat(rows)[:3]


def _spread(scores: Tensor) -> float:
    return float(scores.max() - scores.min()) if scores.numel() > 1 else float(scores.abs().max())


def reads_its_input(patient: Patient) -> Iterator[Finding]:
    """Does the answer depend on the input at all?"""
    if "random" in patient.seen or not patient.rows.is_floating_point():
        raise NotExamined
    x = patient.rows[:1]
    table = patient.handle.preprocess
    if isinstance(table, Table):
        others = table.background[:32].to(x)
    else:
        noise = torch.rand(x.shape, generator=generator(SEED, "noise"), dtype=torch.float32).to(x)
        others = torch.cat([x * 0, x * 0.5 + noise, x.flatten(1).flip(1).reshape(x.shape)])
    gap = float((patient.raw(others) - patient.raw(x)).abs().max())
    if gap == 0:
        yield Finding(
            name="ignores_its_input",
            severity="error",
            says=f"{len(others)} other inputs get exactly the same answer",
            evidence={"largest difference of the scores": gap},
            fix="look for dead rectifiers, a wrong range of the rows, or an output that is no score",
        )


def layers(patient: Patient) -> Iterator[Finding]:
    """Which layer does `auto` take, and what else is there?"""
    if not patient.pictures:
        raise NotExamined
    with patient.session() as session:
        found = session.sites.candidates()
        try:
            best = session.site(AUTO)
        except SiteError as error:
            yield Finding(
                name="no_layer",
                severity="note",
                says="no layer has height and width: CAMs and other methods at a layer cannot explain this model",
                evidence={"layers that ran": len(session.ready.facts.layers), "reason": error.got},
                fix="use methods of the input: gradients, Occlusion, LIME",
            )
            return
        shape = session.site_shape(best)
    places = shape[-2] * shape[-1]
    grids = {(h, w): f"{site} ({h} × {w})" for site, (*_, h, w) in found if h * w > places}  # the last of every size
    others = list(grids.values())[-3:]
    yield Finding(
        name="coarse_layer" if places < COARSE else "layer_choice",
        severity="warning" if places < COARSE else "note",
        says=f"at='auto' takes {best}: the last with height and width that the score depends on",
        evidence={"channels, height, width": " × ".join(map(str, shape)), "of": f"{len(found)} layers"}
        | ({"finer ones before it": others} if others else {}),
        fix=f"for finer maps at='{others[-1].split()[0]}'" if others else "nothing finer is there",
    )
