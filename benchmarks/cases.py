"""What is compared: the same question, asked of pellucid and of a peer. Needs the extra `test`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import tests.conftest  # noqa: F401 - torchvision beside a CPU build of torch
import torch
from torch import Tensor, nn

import pellucid
from pellucid import registry
from pellucid.methods.cam import GradCAM
from pellucid.methods.expected_gradients import ExpectedGradients
from pellucid.methods.gradient import Gradient, InputXGradient
from pellucid.methods.guided import GuidedBackprop
from pellucid.methods.integrated_gradients import IntegratedGradients
from pellucid.methods.occlusion import Occlusion
from pellucid.methods.smooth_grad import SmoothGrad

Work = Callable[[], object]
CLASS = 285
SITE = "_bn1"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: ours, and the peers to divide by, each with the ratio aimed at."""

    name: str
    ours: Work
    peers: dict[str, tuple[Work, float | None]]
    repeat: int = 5
    note: str = ""
    warm_up: int = 1
    """Rounds that do not count; none where a single one takes a minute."""
    extra: dict[str, Work] = field(default_factory=dict)
    """Further candidates that are timed and shown, without a ratio."""


def bundled() -> list[Case]:
    """The bundled model: gradients, paths, noise, maps, windows."""
    import captum.attr as ca
    from pytorch_grad_cam import GradCAM as PeerGradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    handle = pellucid.load("efficientnet_lite0")
    net = handle.module
    one, three, eight = (photos(handle, n) for n in (1, 3, 8))
    site = net.get_submodule(SITE)
    saliency, product, guided = ca.Saliency(net), ca.InputXGradient(net), ca.GuidedBackprop(net)
    paths, noise, cam = ca.IntegratedGradients(net), ca.NoiseTunnel(ca.Saliency(net)), ca.LayerGradCam(net, site)
    hidden = ca.Occlusion(net)
    theirs = PeerGradCAM(model=net, target_layers=[site])
    steps = {"target": CLASS, "n_steps": 50, "method": "gausslegendre"}
    draws = {"target": CLASS, "nt_samples": 50, "stdevs": 0.6, "abs": False}

    def ours(x: Tensor, *methods: object) -> Work:
        return lambda: pellucid.explain(handle, x, methods, target=CLASS, output="logit")

    def gradcam(x: Tensor) -> Work:
        return lambda: theirs(input_tensor=x, targets=[ClassifierOutputTarget(CLASS)] * len(x))

    ig, sg = IntegratedGradients(steps=50, baseline="zero"), SmoothGrad(samples=50)
    cams = registry.make_all("cams")
    windows = {"target": CLASS, "sliding_window_shapes": (3, 32, 32), "strides": (3, 16, 16)}
    return [
        Case(
            "Gradient, 1 row",
            ours(one, Gradient()),
            {"Captum": (lambda: saliency.attribute(one, target=CLASS, abs=False), 0.8)},
            9,
        ),
        Case(
            "Gradient, 8 rows",
            ours(eight, Gradient()),
            {"Captum": (lambda: saliency.attribute(eight, target=CLASS, abs=False), 0.6)},
        ),
        Case(
            "Input × Gradient, 8 rows",
            ours(eight, InputXGradient()),
            {"Captum": (lambda: product.attribute(eight, target=CLASS), 0.6)},
        ),
        Case(
            "Guided Backpropagation, 1 row",
            ours(one, GuidedBackprop()),
            {"Captum": (lambda: guided.attribute(one, target=CLASS), 0.8)},
            9,
            "Captum computes the plain gradient here: it knows no ReLU6",
        ),
        Case(
            "Guided Backpropagation, 8 rows",
            ours(eight, GuidedBackprop()),
            {"Captum": (lambda: guided.attribute(eight, target=CLASS), 0.6)},
            5,
            "as above",
        ),
        Case(
            "Integrated Gradients, 50 steps",
            ours(one, ig),
            {
                "Captum, default": (lambda: paths.attribute(one, **steps), 0.4),
                "Captum, internal_batch_size=4": (lambda: paths.attribute(one, **steps, internal_batch_size=4), 0.65),
            },
            3,
            "ours with 2 forward rows more for the completeness check",
        ),
        Case(
            "SmoothGrad, 50 samples",
            ours(one, sg),
            {
                "Captum, default": (lambda: noise.attribute(one, **draws), 0.4),
                "Captum, nt_samples_batch_size=4": (
                    lambda: noise.attribute(one, **draws, nt_samples_batch_size=4),
                    0.65,
                ),
            },
            3,
            "ours with standard errors",
        ),
        Case(
            "Grad-CAM, 1 row",
            ours(one, GradCAM(at=SITE)),
            {
                "pytorch-grad-cam": (gradcam(one), 0.35),
                "Captum": (lambda: cam.attribute(one, target=CLASS, relu_attributions=True), 0.7),
            },
            9,
        ),
        Case(
            "Grad-CAM, 8 rows",
            ours(eight, GradCAM(at=SITE)),
            {
                "pytorch-grad-cam": (gradcam(eight), 0.35),
                "Captum": (lambda: cam.attribute(eight, target=CLASS, relu_attributions=True), 0.7),
            },
        ),
        Case(
            "five CAMs together, 1 row",
            ours(one, *cams),
            {"one CAM alone (ours)": (ours(one, GradCAM()), 1.3)},
            9,
        ),
        Case(
            "Occlusion, window 32, stride 16",
            ours(one, Occlusion(window=32, stride=16)),
            {
                "Captum, perturbations_per_eval=4": (
                    lambda: hidden.attribute(one, **windows, perturbations_per_eval=4),
                    None,
                )
            },
            3,
        ),
        Case(
            "Expected Gradients, 50 samples",
            ours(one, ExpectedGradients(samples=50, baselines=("black", "white"))),
            {
                "Captum GradientShap, default": (
                    lambda: ca.GradientShap(net).attribute(
                        one, torch.cat([one * 0 - 1, one * 0 + 1]), n_samples=50, target=CLASS
                    ),
                    None,
                )
            },
            3,
        ),
        _sauron(ours, net, three),
    ]


def _sauron(ours: Callable[..., Work], net: nn.Module, three: Tensor) -> Case:
    """V, GI, SG, SGI, IG, GB on three photos, with sauron's defaults: 5 samples, 20 steps."""
    import captum.attr as ca

    def captum(x: Tensor) -> None:
        ca.Saliency(net).attribute(x, target=CLASS, abs=False)
        ca.InputXGradient(net).attribute(x, target=CLASS)
        ca.NoiseTunnel(ca.Saliency(net)).attribute(x, target=CLASS, nt_samples=5, stdevs=0.6, abs=False)
        ca.NoiseTunnel(ca.InputXGradient(net)).attribute(x, target=CLASS, nt_samples=5, stdevs=0.6)
        ca.IntegratedGradients(net).attribute(x, target=CLASS, n_steps=20)
        ca.GuidedBackprop(net).attribute(x, target=CLASS)

    mine = ours(
        three,
        Gradient(),
        InputXGradient(),
        SmoothGrad(samples=5),
        SmoothGrad(samples=5, times_input=True),
        IntegratedGradients(steps=20, baseline="zero"),
        GuidedBackprop(),
    )
    one_by_one = [three[i : i + 1] for i in range(3)]
    return Case(
        "six methods of sauron, three photos",
        mine,
        {
            "Captum, batched": (lambda: captum(three), 0.4),
            "Captum, one photo after the other": (lambda: [captum(x) for x in one_by_one], 0.55),
        },
        3,
    )


def small() -> tuple[dict[str, Work], str]:
    """The overhead on a two-layer network for MNIST, batch 1: candidates, the first being raw autograd."""
    import captum.attr as ca

    draw = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 24, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 36, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(900, 128), nn.ReLU(), nn.Linear(128, 10)),
    ).eval()
    for p in net.parameters():
        p.requires_grad_(False)
    x = torch.rand(1, 1, 28, 28, generator=draw)
    handle, method, saliency = pellucid.wrap(net), Gradient(), ca.Saliency(net)

    def raw() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(net(leaf)[0, 3], leaf)[0]

    return {
        "raw autograd": raw,
        "Captum Saliency": lambda: saliency.attribute(x, target=3, abs=False),
        "pellucid.explain": lambda: pellucid.explain(handle, x, method, target=3),
    }, "two-layer MNIST CNN, batch 1"


def photos(handle: pellucid.api.TorchModel, count: int) -> Tensor:
    """Rows of the two sample photos and their mirrored and shifted copies."""
    x = handle.preprocess.rows(pellucid.zoo.sample_photos())
    many = torch.cat([x, x.flip(3), x.roll(20, 2), x.roll(-20, 3)])
    return many[:count].contiguous()


warnings.filterwarnings("ignore", category=UserWarning, module="captum")
