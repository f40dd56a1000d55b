"""Propagation and the masked and ablated maps beside their peers, on the bundled model, one row."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import torch
from torch import Tensor, nn

import pellucid
from benchmarks.cases import CLASS, SITE, Case, Work, photos
from pellucid.methods.cam import LayerCAM
from pellucid.methods.cam_ablation import AblationCAM
from pellucid.methods.cam_masked import ISCAM, SSCAM, ScoreCAM
from pellucid.methods.deep_lift import DeepLift
from pellucid.methods.full_grad import FullGrad
from pellucid.methods.lrp import LRP

NARROW = "_blocks.15"
"""The last block: a quarter of the channels of SITE, for maps that cost a pass for every channel."""
DRAWS = 2
BATCH = 8
"""Pictures that torchcam masks at once; its default of 32 is slower on two cores."""


def propagated() -> list[Case]:
    """LRP beside zennit, DeepLIFT beside Captum and shap, the masked maps beside grad-cam and torchcam."""
    import captum.attr as ca
    from pytorch_grad_cam import FullGrad as PeerFullGrad
    from pytorch_grad_cam import LayerCAM as PeerLayerCAM
    from pytorch_grad_cam import ScoreCAM as PeerScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from zennit.composites import EpsilonGammaBox, EpsilonPlus, EpsilonPlusFlat

    handle = pellucid.load("efficientnet_lite0")
    net = handle.module
    one, eight = photos(handle, 1), photos(handle, 8)
    low, high = (handle.preprocess.to_rows(torch.full_like(one, v)) for v in (0.0, 1.0))
    lift = ca.DeepLift(net)
    narrow = net.get_submodule(NARROW)
    score, full = PeerScoreCAM(model=net, target_layers=[narrow]), PeerFullGrad(model=net, target_layers=[])
    layered = PeerLayerCAM(model=net, target_layers=[net.get_submodule(SITE)])
    wanted = [ClassifierOutputTarget(CLASS)]

    def ours(x: Tensor, *methods: object) -> Work:
        return lambda: pellucid.explain(handle, x, methods, target=CLASS, output="logit")

    def zennit(composite: object, x: Tensor) -> Work:
        return lambda: _zennit(net, composite, x)

    def plain(x: Tensor) -> Work:
        return lambda: [_gradient(net, x)]

    def forwards() -> None:
        with torch.no_grad():
            for _ in range(15):
                net(one)

    pass_name, note = "plain forward + backward", "the floor in units of one pass"
    return [
        Case(
            "LRP EpsilonPlusFlat, 1 row",
            ours(one, LRP(composite="epsilon_plus_flat")),
            {"zennit": (zennit(EpsilonPlusFlat(), one), 0.6), pass_name: (plain(one), None)},
            7,
            note,
        ),
        Case(
            "LRP EpsilonPlusFlat, 8 rows",
            ours(eight, LRP(composite="epsilon_plus_flat")),
            {"zennit": (zennit(EpsilonPlusFlat(), eight), 0.6)},
            3,
        ),
        Case(
            "LRP EpsilonPlus, 1 row",
            ours(one, LRP(composite="epsilon_plus")),
            {"zennit": (zennit(EpsilonPlus(), one), 0.6)},
            5,
        ),
        Case(
            "LRP EpsilonGammaBox, 1 row",
            ours(one, LRP(composite="epsilon_gamma_box")),
            {
                "zennit": (zennit(EpsilonGammaBox(low=low, high=high), one), 0.6),
                pass_name: (plain(one), None),
            },
            5,
        ),
        Case(
            "DeepLIFT, 1 row",
            ours(one, DeepLift(baseline="zero")),
            {
                "Captum": (lambda: lift.attribute(one, target=CLASS), 0.6),
                **({"shap DeepExplainer": (lambda: _shap(net, one), None)} if find_spec("shap") else {}),
                pass_name: (plain(one), None),
            },
            7,
            "both peers are wrong here: they know no ReLU6",
        ),
        Case(
            "DeepLIFT, 8 rows",
            ours(eight, DeepLift(baseline="zero")),
            {"Captum": (lambda: lift.attribute(eight, target=CLASS), 0.6)},
            3,
            "as above",
        ),
        Case(
            "Score-CAM, 320 channels",
            ours(one, ScoreCAM(at=NARROW)),
            {
                "pytorch-grad-cam": (lambda: score(input_tensor=one, targets=wanted), 0.7),
                "torchcam": (lambda: _torchcam("ScoreCAM", net, NARROW, one, batch_size=BATCH), None),
            },
            1,
            warm_up=0,
        ),
        Case(
            f"SS-CAM, 320 channels, {DRAWS} draws",
            ours(one, SSCAM(at=NARROW, channels=320, samples=DRAWS)),
            {
                "torchcam": (
                    lambda: _torchcam("SSCAM", net, NARROW, one, batch_size=BATCH, num_samples=DRAWS),
                    None,
                )
            },
            1,
            warm_up=0,
        ),
        Case(
            f"IS-CAM, 320 channels, {DRAWS} steps",
            ours(one, ISCAM(at=NARROW, channels=320, steps=DRAWS)),
            {
                "torchcam": (
                    lambda: _torchcam("ISCAM", net, NARROW, one, batch_size=BATCH, num_samples=DRAWS),
                    None,
                )
            },
            1,
            "torchcam adds its steps up: its pictures are 1/N, 3/N, 6/N … as bright",
            warm_up=0,
        ),
        Case(
            "LayerCAM, 1 row",
            ours(one, LayerCAM(at=SITE)),
            {
                "pytorch-grad-cam": (lambda: layered(input_tensor=one, targets=wanted), None),
                "torchcam": (lambda: _torchcam("LayerCAM", net, SITE, one), None),
            },
            9,
        ),
        Case(
            "Ablation-CAM, 1,280 channels",
            ours(one, AblationCAM(at=SITE)),
            {"15 plain forward passes": (forwards, 1.0)},
            5,
            "pytorch-grad-cam takes minutes: it runs the whole model for every channel",
        ),
        Case(
            "FullGrad, 1 row",
            ours(one, FullGrad()),
            {"pytorch-grad-cam": (lambda: full(input_tensor=one, targets=wanted), None)},
            3,
        ),
    ]


def _gradient(net: nn.Module, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(net(leaf)[:, CLASS].sum(), leaf)[0]


def _zennit(net: nn.Module, composite: object, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    with composite.context(net) as modified:  # pyright: ignore[reportAttributeAccessIssue]
        out = modified(leaf)
        start = torch.zeros_like(out)
        start[:, CLASS] = out[:, CLASS].detach()
        return torch.autograd.grad(out, leaf, start)[0]


def _torchcam(name: str, net: nn.Module, layer: str, x: Tensor, **how: int) -> Tensor:
    """A map of torchcam: one pass that its hooks look at, then its own."""
    from torchcam import methods

    with getattr(methods, name)(net, layer, **how) as made, torch.set_grad_enabled(name == "LayerCAM"):
        return made(CLASS, net(x.clone().requires_grad_()))[0]


def refusals() -> list[str]:
    """What peers answer when they are asked to explain the bundled model, word for word."""
    import captum.attr as ca

    handle = pellucid.load("efficientnet_lite0")
    net, one = handle.module, photos(handle, 1)
    lines = ["| peer | what it answers |", "|---|---|"]
    for name, asked in {"Captum LRP": lambda: ca.LRP(net).attribute(one, target=CLASS)}.items():
        try:
            asked()
            says = "a map"
        except (TypeError, RuntimeError, AssertionError) as error:
            says = f"{type(error).__name__}: {' '.join(str(error).split())}"
        lines.append(f"| {name} | {says} |")
    return lines


def _shap(net: nn.Module, x: Tensor) -> None:
    import shap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of modules that it does not know
        shap.DeepExplainer(net, torch.zeros_like(x)).shap_values(x, ranked_outputs=1, check_additivity=False)
