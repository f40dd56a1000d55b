"""Zero paddings become part of the convolution behind them, where nothing else can tell."""

# What a session chooses is private to it.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid
from pellucid.adapters.torch.session import TorchSession
from pellucid.adapters.torch.watch import watch
from pellucid.core.ask import PLAIN, Lane, Where
from pellucid.core.site import Site
from pellucid.propagation.deeplift import Multipliers
from pellucid.propagation.lrp.presets import epsilon_plus_flat


class Net(nn.Module):
    """A padding in front of a convolution, read as `how` says."""

    def __init__(self, how: str = "", pad: nn.Module | None = None, own: int = 0) -> None:
        super().__init__()
        self.how = how
        self.pad = nn.ZeroPad2d(1) if pad is None else pad
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=own), nn.Conv2d(4, 4, 3)
        self.outer = nn.Sequential(self.pad) if how == "handed on" else None
        self.last, self.norm = nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.pad(x) if self.outer is None else self.outer(x)
        out = F.relu(F.conv2d(wide, self.first.weight * 1.0) if self.how == "other weight" else self.first(wide))
        if self.how == "read twice":
            out = out + wide.mean()
        if self.how == "padded twice":
            out = F.relu(self.second(self.pad(out)))
        return self.norm(self.last(out)).mean((2, 3))


def pairs(net: nn.Module) -> tuple[tuple[str, str], ...]:
    return watch(net.eval(), torch.rand(1, 3, 8, 8), None, None).pads


@pytest.mark.parametrize("pad", [nn.ZeroPad2d(1), nn.ZeroPad2d((2, 2, 0, 0)), nn.ConstantPad2d(1, 0.0)])
def test_even_zero_paddings_are_found(pad: nn.Module):
    assert pairs(Net(pad=pad)) == (("pad", "first"),)


@pytest.mark.parametrize(
    "net",
    [
        Net("read twice"),
        Net("padded twice"),
        Net("other weight"),
        Net("handed on"),
        Net(own=1),
        Net(pad=nn.ZeroPad2d((0, 1, 0, 1))),
        Net(pad=nn.ConstantPad2d(1, 1.0)),
        Net(pad=nn.ReflectionPad2d(1)),
    ],
)
def test_what_is_read_elsewhere_or_padded_otherwise_stays(net: nn.Module):
    assert pairs(net) == ()


def session_of(net: nn.Module, x: Tensor) -> TorchSession:
    with pellucid.wrap(net, evaluate="prepared").ready(x) as session:
        assert isinstance(session, TorchSession)
        return session


def test_gradients_do_not_change_and_sites_and_relevance_see_the_padding():
    torch.manual_seed(0)
    net, x = Net().eval(), torch.rand(2, 3, 8, 8)
    handle = pellucid.wrap(net, evaluate="prepared")
    found = pellucid.explain(handle, x, pellucid.Gradient(), target=1)
    leaf = x.clone().requires_grad_()
    net(leaf)[:, 1].sum().backward()
    torch.testing.assert_close(torch.stack([e.values for e in found]).view_as(x), leaf.grad)
    session = session_of(net, x)
    ready, site = session.ready, Site("pad")
    assert ready.padded is not None and ready.padded.get_submodule("first").padding == (1, 1)
    assert session._net(Lane(PLAIN, True)) is ready.padded
    assert session._net(Lane(PLAIN, True, (site,), (site,))) is ready.prepared
    assert session._net(Lane(Where(None, Multipliers()), True)) is ready.padded
    assert session._net(Lane(Where(None, epsilon_plus_flat()), True)) is ready.prepared
    assert net.first.padding == (0, 0) and type(net.pad) is nn.ZeroPad2d


def test_a_model_that_leaves_its_padding_unread_keeps_it():
    class Deaf(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return F.conv2d(input, self.weight, self.bias)

    net = Net()
    net.first = Deaf(3, 4, 3)
    assert pairs(net) == (("pad", "first"),)
    x = torch.rand(1, 3, 8, 8)
    assert session_of(net.eval(), x).ready.padded is None
