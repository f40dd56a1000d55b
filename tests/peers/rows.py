"""The rows of the table: which methods, models and peers are compared, and which differences are known and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.peers import with_captum, with_games, with_grad_cam, with_shap, with_torchcam, with_zennit
from tests.peers.models import BUNDLED, CASES, TRANSFORMERS, Case, case, distance, plain, twin_case
from tests.peers.with_captum import Compared
from torch import Tensor

import pellucid
from pellucid.core.errors import RuleError

TOLERANCE = 1e-6
PEERS: dict[str, dict[str, Compared]] = {
    "Captum": with_captum.COMPARED | with_games.CAPTUM,
    "pytorch-grad-cam": with_grad_cam.COMPARED,
    "torchcam": with_torchcam.COMPARED,
    "zennit": with_zennit.COMPARED,
    "lime": with_games.LIME,
    "shap": with_games.SHAP | with_shap.COMPARED,
}
GUIDED = ("Guided Backpropagation", "Deconvnet", "Guided Grad-CAM")
LAYER_PATH = "Integrated Gradients at a layer"
TWINS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("Captum", BUNDLED): (GUIDED, "ReLU6 as a subclass of nn.ReLU"),
    ("Captum", "densenet121"): ((*GUIDED, LAYER_PATH), "last ReLU as a module, out of place"),
    **{("Captum", name): (("Grad-CAM",), "tokens laid out as a picture") for name in TRANSFORMERS},
    ("shap", "vgg11"): ((with_games.DEEP,), "ReLUs out of place"),
}
"""Methods that are also compared on a twin: the same function, written so that the peer understands it."""


@dataclass(frozen=True, slots=True)
class Known:
    """A difference that stays: where, why, and the test of this folder that shows who is right."""

    peer: str
    methods: tuple[str, ...]
    models: tuple[str, ...]
    reason: str
    proof: str


ALL = tuple(CASES)
KNOWN = (
    Known(
        "Captum",
        GUIDED,
        (BUNDLED,),
        "Captum changes nn.ReLU only; on ReLU6 it returns the plain gradient without a word.",
        "test_relu6_has_the_guided_backward_written_by_hand",
    ),
    Known(
        "Captum",
        GUIDED,
        ("densenet121",),
        "Captum does not see the functional ReLU in which DenseNet ends.",
        "test_modules_or_functions_make_no_difference",
    ),
    Known(
        "Captum",
        GUIDED,
        TRANSFORMERS,
        "The rule has no meaning without a rectifier: refused here, the plain gradient in Captum.",
        "test_without_a_rectifier_there_is_no_guided_backward",
    ),
    Known(
        "Captum",
        ("DeepLIFT",),
        (BUNDLED, "densenet121", *TRANSFORMERS),
        "Captum knows a few modules; on ReLU6, GELU, norms, attention and functions it returns the plain gradient.",
        "test_deep_lift_is_complete_whatever_the_activation",
    ),
    Known(
        "Captum",
        ("DeepLIFT",),
        ("vgg11",),
        "In max pooling Captum mixes the signals of input and reference, and of different rows.",
        "test_deep_lift_is_complete_through_max_pooling",
    ),
    Known(
        "Captum",
        ("DeepLIFT",),
        ("resnet18",),
        "Captum raises an error, for the model uses one ReLU twice.",
        "test_deep_lift_does_not_mind_one_relu_for_all",
    ),
    Known(
        "Captum",
        ("Integrated Gradients, trapezoid",),
        ALL,
        "Captum's trapezoid weights add up to (n − 1)/n.",
        "test_trapezoid_is_complete_on_a_linear_model",
    ),
    Known(
        "Captum",
        ("Conductance",),
        tuple(name for name in ALL if name != "resnet18"),  # there the score is linear in the layer
        "Captum sums over left ends; here the two ends of a step are averaged.",
        "test_conductance_is_complete_where_the_score_is_quadratic",
    ),
    Known(
        "Captum",
        ("Occlusion, windows that do not fit evenly",),
        ALL,
        "Captum cuts the last window off at the edge; here it is moved in, so that all windows hide as much.",
        "test_equal_pixels_get_equal_occlusion",
    ),
    Known(
        "Captum",
        (LAYER_PATH,),
        ("densenet121",),
        "Captum raises an error, for the model goes on in place behind the layer.",
        "test_modules_or_functions_make_no_difference",
    ),
    Known(
        "Captum",
        ("Grad-CAM",),
        TRANSFORMERS,
        "Captum takes the tokens for channels and returns no picture.",
        "test_token_grid_is_found_without_help",
    ),
    Known(
        "pytorch-grad-cam",
        ("Grad-CAM++",),
        ALL,
        "The peer adds ε = 10⁻⁶ to a denominator of the order of the squared gradient.",
        "test_cams_do_not_depend_on_the_scale_of_features",
    ),
    Known(
        "pytorch-grad-cam",
        (
            *("Grad-CAM", "Grad-CAM++ of 10⁸ × logit", "XGrad-CAM", "Shapley-CAM"),
            *("Eigen-CAM, centred", "Finer-CAM, others weighted equally"),
        ),
        ("densenet121",),
        "The peer keeps an alias of the activation, which the model's in-place ReLU then overwrites.",
        "test_in_place_or_not_makes_no_difference",
    ),
    Known(
        "pytorch-grad-cam",
        ("Shapley-CAM",),
        TRANSFORMERS,
        "The peer raises an error, for it detaches in place what is a view in a transformer.",
        "test_shapley_cam_of_a_transformer_is_the_second_derivative",
    ),
    Known(
        "pytorch-grad-cam",
        ("Finer-CAM",),
        ALL,
        "The peer weighs the other classes by their probabilities, and differentiates the weights with the scores.",
        "test_finer_cam_is_the_map_of_a_difference",
    ),
    Known(
        "pytorch-grad-cam",
        ("Score-CAM",),
        ALL,
        "The peer enlarges maps with aligned corners, which moves what lies between away from its place.",
        "test_an_enlarged_spot_stays_at_its_place",
    ),
    Known(
        "pytorch-grad-cam",
        ("Ablation-CAM of both signs",),
        ALL,
        "Where activations are not rectified, the peer sets channels to −10⁷ instead of zero.",
        "test_a_channel_that_is_off_is_zero",
    ),
    Known(
        "torchcam",
        ("Grad-CAM++",),
        with_torchcam.MODELS,
        "torchcam divides a copy, and throws it away: its α is the squared gradient alone.",
        "test_alpha_is_a_quotient",
    ),
    Known(
        "torchcam",
        ("Grad-CAM", "XGrad-CAM", "Finer-CAM, others weighted equally"),
        ("densenet121",),
        "torchcam keeps an alias of the activation, which the model's in-place ReLU then overwrites.",
        "test_in_place_or_not_makes_no_difference",
    ),
    Known(
        "torchcam",
        ("Score-CAM",),
        ("resnet18",),
        "torchcam stretches activations to [0, 1] before it enlarges them: the masks it uses do not reach 1.",
        "test_masks_reach_from_zero_to_one",
    ),
    Known(
        "torchcam",
        ("IS-CAM",),
        ("resnet18",),
        "torchcam adds up the fractions 1/N, 2/N …: its last picture is (N + 1)/2 times as bright as the first one.",
        "test_integrated_pictures_do_not_outshine_the_picture",
    ),
    Known(
        "zennit",
        (with_zennit.NORMS_AS_THEY_STAND,),
        ("resnet18",),
        "zennit merges a batch norm and leaves its ε in the emptied norm, which then scales by 1/√(1 + ε).",
        "test_where_the_epsilon_of_a_norm_stands_makes_no_difference",
    ),
    Known(
        "Captum",
        (with_games.LASSO,),
        with_games.MODELS,
        "Captum fits a lasso of strength 0.01 without being asked to: every weight shrinks, and small ones vanish.",
        "test_small_weights_survive",
    ),
    Known(
        "Captum",
        ("Kernel SHAP",),
        (BUNDLED,),
        "Captum weighs the whole picture and the hidden one 10⁶ instead of meeting them: the sum is not exact.",
        "test_shapley_values_add_up",
    ),
    Known(
        "lime",
        (with_games.FROM_ONE,),
        (with_games.SMALL,),
        "lime takes regions to be numbered from 0: the one with the highest number is never hidden and weighs nothing.",
        "test_numbers_of_regions_are_only_names",
    ),
    Known(
        "lime",
        (with_games.SEVERAL,),
        (with_games.SMALL,),
        "lime keeps R² and local prediction of the label that it comes to last.",
        "test_every_label_has_its_own_fit",
    ),
    Known(
        "shap",
        (with_games.SPARSE,),
        with_games.MODELS,
        "shap gives a value to ten players at most and nothing to the others, unless told `l1_reg=False`.",
        "test_every_player_who_counts_has_a_value",
    ),
    Known(
        "shap",
        (with_games.DEEP,),
        ("vgg11", "resnet18", "densenet121"),
        "shap raises an error where the model works in place, and leaves its hooks on it.",
        "test_deep_shap_does_not_mind_where_activations_write",
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    peer: str
    method: str
    model: str
    twin: str = ""

    def __str__(self) -> str:
        return f"{self.peer}: {self.method}: {self.model}{': twin' if self.twin else ''}"

    @property
    def case(self) -> Case:
        return twin_case(self.model) if self.twin else case(self.model)

    @property
    def known(self) -> Known | None:
        if self.twin:
            return None
        hits = [k for k in KNOWN if k.peer == self.peer and self.method in k.methods and self.model in k.models]
        return hits[0] if hits else None

    def measure(self) -> float | str:
        """The largest relative difference, or in words why there is none."""
        ours = our_maps(self.model)[self.method]
        try:
            theirs = PEERS[self.peer][self.method].theirs(self.case)
        except RuntimeError:
            return "the peer fails"
        if ours is None:
            return "refused here"
        return "other shape" if ours.shape != theirs.shape else distance(ours, theirs)


def every() -> Iterator[Row]:
    """All rows, in the order of the table."""
    for peer, compared in PEERS.items():
        for method, one in compared.items():
            for model in filter(one.on, CASES):
                yield Row(peer, method, model)
                methods, says = TWINS.get((peer, model), ((), ""))
                if method in methods:
                    yield Row(peer, method, model, says)


@cache
def our_maps(model: str) -> dict[str, Tensor | None]:
    """Our maps by title, all methods of one target in one call; None where we refuse."""
    c, handle = case(model), plain(case(model).module)
    maps: dict[str, Tensor | None] = {}
    together: dict[str, Compared] = {}
    for title, compared in {k: v for some in PEERS.values() for k, v in some.items() if v.on(model)}.items():
        if compared.target is not None or (title in GUIDED and model in TRANSFORMERS):
            target = c.target if compared.target is None else compared.target(c)
            try:
                maps[title] = pellucid.explain(handle, c.x, compared.ours(c), target=target, output="logit")[0].values
            except RuleError:
                maps[title] = None
        else:
            together[title] = compared
    got = pellucid.explain(handle, c.x, [one.ours(c) for one in together.values()], target=c.target, output="logit")
    maps.update((title, together[title].reads(e)) for title, e in zip(together, got, strict=True))
    return maps
