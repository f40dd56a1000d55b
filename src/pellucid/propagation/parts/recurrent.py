"""Recurrent layers written out, one step in time after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import RuleError

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State, Tensor, Tensor | None], State]
"""What a cell does: W x + b of one moment, the state before, the weight and bias of the state -> the state after."""


def rnn_step(
    activation: Callable[[Tensor], Tensor], x: Tensor, state: State, weight: Tensor, bias: Tensor | None
) -> State:
    """h = φ(x + W h + b)."""
    return (activation(x + F.linear(state[0], weight, bias)),)


def lstm_step(x: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """c = σ(f) c + σ(i) tanh(g), h = σ(o) tanh(c); i, f, g, o the quarters of x + W h + b."""
    h, c = state
    i, f, g, o = (x + F.linear(h, weight, bias)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(x: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    """h = (1 − z) n + z h, n = tanh(x_n + r (W_n h + b_n)), r and z the sigmoids of the other two thirds."""
    (h,) = state
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = F.linear(h, weight, bias).chunk(3, -1)
    z = (xz + hz).sigmoid()
    n = (xn + (xr + hr).sigmoid() * hn).tanh()
    return ((1 - z) * n + z * h,)


def layers(
    step: Step,
    input: Tensor,
    hx: Tensor | Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """All layers over all moments: the outputs, then the last states of every layer and direction."""
    if not isinstance(has_biases, bool):
        raise RuleError(
            "a recurrent layer reads a packed sequence", "padded rows", "call it without pack_padded_sequence"
        )
    states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    ways = 2 if bidirectional else 1
    each = len(params) // (num_layers * ways)
    x, lasts = input, []
    for layer in range(num_layers):
        outputs = []
        for way in range(ways):
            number = layer * ways + way
            weights = params[number * each : (number + 1) * each]
            start = tuple(state[number] for state in states)
            output, last = _run(step, x, start, weights, has_biases, int(batch_first), backwards=way == 1)
            outputs.append(output)
            lasts.append(last)
        x = outputs[0] if ways == 1 else torch.cat(outputs, -1)
        if dropout and train and layer < num_layers - 1:
            x = F.dropout(x, dropout, training=True)
    return x, *(torch.stack(parts) for parts in zip(*lasts, strict=True))


def _run(
    step: Step, x: Tensor, state: State, weights: Sequence[Tensor], biases: bool, time: int, *, backwards: bool
) -> tuple[Tensor, State]:
    """One layer in one direction; a fifth weight (a third without biases) projects the outputs of an LSTM."""
    ih, hh = (weights[2], weights[3]) if biases else (None, None)
    projection = weights[-1] if len(weights) % 2 else None
    moments = list(F.linear(x, weights[0], ih).unbind(time))
    outputs = []
    for moment in reversed(moments) if backwards else moments:
        state = step(moment, state, weights[1], hh)
        if projection is not None:
            state = (F.linear(state[0], projection), *state[1:])
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs, time), state


def cell(
    step: Step,
    input: Tensor,
    hx: Tensor | Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor | State:
    """One step."""
    state = step(F.linear(input, w_ih, b_ih), (hx,) if isinstance(hx, Tensor) else tuple(hx), w_hh, b_hh)
    return state[0] if len(state) == 1 else state


STEPS: dict[str, Step] = {
    "lstm": lstm_step,
    "gru": gru_step,
    "rnn_relu": partial(rnn_step, torch.relu),
    "rnn_tanh": partial(rnn_step, torch.tanh),
}
