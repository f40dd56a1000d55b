"""Shapley values that need no sampling, because of what the model is: trees, through the `shap` package, and sums."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pellucid.adapters.function import FunctionModel
from pellucid.core.errors import InputError, UnsupportedModel


def tree_values(model: FunctionModel, rows: Tensor, background: Tensor) -> tuple[Tensor, str]:
    """What the columns of every row are worth to every output of an ensemble of trees, and which number that is.

    Interventional: columns that are away take the values of the background rows, one after the other, as in games.
    Returns ([outputs or 1, row, column] float64, `probability` or `value`). Raises UnsupportedModel for other models.
    """
    try:
        import shap
    except ImportError as error:
        raise InputError("no package shap", "shap, which reads trees", 'pip install "pellucid[trees]"') from error
    data, ground = (np.asarray(model.preprocess.decoded(one), dtype=np.float64) for one in (rows, background))
    number = "probability" if model.emitted(rows) == "probabilities" else "raw"
    try:
        explainer = shap.TreeExplainer(model.source, ground, feature_perturbation="interventional", model_output=number)
        got = np.asarray(explainer.shap_values(data, check_additivity=False), dtype=np.float64)
    except Exception as error:
        raise UnsupportedModel(
            f"{model.name} as an ensemble of trees: {type(error).__name__}: {str(error).partition(chr(10))[0][:160]}",
            "a model of trees that the shap package knows: scikit-learn, xgboost, lightgbm, catboost",
            "kernel_shap and permutation_shap explain any model",
        ) from error
    values = torch.from_numpy(got)
    return (values[None] if values.ndim == 2 else values.permute(2, 0, 1)), number.replace("raw", "value")


def linear_values(model: FunctionModel, rows: Tensor, background: Tensor) -> Tensor:
    """φ_i = w_i (x_i − E b_i), [outputs, row, column] float64, for a model that is seen to be linear in its columns.

    The weights are differences of scores, one column at a time; that the scores are their sum is checked on all rows
    and references. Raises UnsupportedModel where it is not.
    """
    centre = background.mean(0)
    step = torch.cat([rows, background]).sub(centre).abs().amax(0).clamp_min(1.0)
    scores = model.scores(torch.cat([centre[None], centre + torch.diag(step), rows, background]))
    n = rows.shape[1]
    weight = (scores[1 : n + 1] - scores[:1]) / step[:, None]  # [column, outputs]
    every = torch.cat([rows, background]) - centre
    gap = float((scores[:1] + every @ weight - scores[n + 1 :]).abs().max() / scores.abs().max().clamp_min(1e-12))
    if not gap <= 1e-6:
        raise UnsupportedModel(
            f"{model.name}, whose scores are off a linear function by {gap:.2g} of their size",
            "scores that are sums of columns",
            "explain the number that is: a decision function or the logit, not the probability",
        )
    return torch.einsum("bi,io->obi", rows - centre, weight)
