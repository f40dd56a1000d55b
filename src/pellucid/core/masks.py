"""A picture and the superpixels that count most, in the form in which users of Python's lime know them."""

from __future__ import annotations

import numpy as np
import torch

from pellucid.core.errors import InputError, ParameterError, TargetError
from pellucid.core.explanation import Explanation
from pellucid.core.players import Player, players_of, regions_of, strongest

RED, GREEN = 0, 1


def image_and_mask(
    row: Explanation,
    label: int | str | None,
    positive_only: bool,
    negative_only: bool,
    hide_rest: bool,
    num_features: int,
    min_weight: float,
) -> tuple[np.ndarray, np.ndarray]:
    """See `Explanation.get_image_and_mask`."""
    if positive_only and negative_only:
        raise ParameterError(
            "positive_only and negative_only", "one of them", "positive_only=False, negative_only=True"
        )
    if num_features < 1 or min_weight < 0:
        raise ParameterError(f"num_features={num_features}, min_weight={min_weight}", "1 or more, and 0 or more")
    regions = regions_of(row)
    if label is not None and label not in (row.target.index[0], row.target.name[0]):
        raise TargetError(f"label {label!r}", f"the one explained, {row.target.name[0]!r}", "explain with target=")
    picture = row.inputs.picture
    if picture is None:
        raise InputError(f"{row.inputs.name[0]} without its picture", "an explanation that kept it")
    whole = picture[0].cpu()
    shown = torch.zeros_like(whole) if hide_rest else whole.clone()
    mask = torch.zeros_like(regions)
    both = not (positive_only or negative_only)
    for player in _wanted(players_of(row), positive_only, negative_only, num_features, min_weight):
        mine = regions == player.number
        mask[mine] = -1 if both and player.weight < 0 else 1
        shown[mine] = whole[mine]
        if both:
            shown[..., RED if player.weight < 0 else GREEN][mine] = int(whole.max())
    return shown.numpy(), mask.numpy()


def _wanted(
    players: list[Player], positive_only: bool, negative_only: bool, count: int, min_weight: float
) -> list[Player]:
    """The strongest of the players of one sign; of both signs those of the strongest that are large enough.

    So it is in Python's lime: of one sign the small ones are left out before counting, of both signs after it.
    """
    large = [player for player in strongest(players) if abs(player.weight) > min_weight]
    if positive_only or negative_only:
        return [player for player in large if (player.weight > 0) == positive_only][:count]
    return [player for player in strongest(players, count) if abs(player.weight) >= min_weight and player.weight]
