"""Why did the model say that, and can the answer be trusted?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pellucid import images as images
    from pellucid import metrics as metrics
    from pellucid import plots as plots
    from pellucid import regions as regions
    from pellucid import registry as registry
    from pellucid import views as views
    from pellucid import zoo as zoo
    from pellucid.api import as_classifier as as_classifier
    from pellucid.api import as_regressor as as_regressor
    from pellucid.api import audit as audit
    from pellucid.api import cite as cite
    from pellucid.api import compare as compare
    from pellucid.api import explain as explain
    from pellucid.api import layers as layers
    from pellucid.api import load as load
    from pellucid.api import measure as measure
    from pellucid.api import plan as plan
    from pellucid.api import report as report
    from pellucid.api import wrap as wrap
    from pellucid.api.checkup import doctor as doctor
    from pellucid.api.closed import linear_shap as linear_shap
    from pellucid.api.closed import tree_shap as tree_shap
    from pellucid.api.counterfactuals import counterfactual as counterfactual
    from pellucid.api.difference import diff as diff
    from pellucid.api.permutation import feature_permutation as feature_permutation
    from pellucid.api.sanity import sanity as sanity
    from pellucid.api.scorecard import scorecard as scorecard
    from pellucid.api.sessions import session as session
    from pellucid.api.studies import surrogate as surrogate
    from pellucid.core.diagnosis import Diagnosis as Diagnosis
    from pellucid.core.diagnosis import Finding as Finding
    from pellucid.core.difference import Difference as Difference
    from pellucid.core.difference import Differences as Differences
    from pellucid.core.explanation import Explanation as Explanation
    from pellucid.core.explanation import Explanations as Explanations
    from pellucid.core.explanation import Kind as Kind
    from pellucid.core.measurements import Measurement as Measurement
    from pellucid.core.measurements import Measurements as Measurements
    from pellucid.core.site import Site as Site
    from pellucid.core.store import load as _load
    from pellucid.core.store import save as save
    from pellucid.core.target import Class as Class
    from pellucid.core.target import Contrast as Contrast
    from pellucid.core.target import Each as Each
    from pellucid.core.target import Score as Score
    from pellucid.core.target import Top as Top
    from pellucid.core.target import Unit as Unit
    from pellucid.methods.anchors import Anchors as Anchors
    from pellucid.methods.attention_rollout import AttentionRollout as AttentionRollout
    from pellucid.methods.banzhaf import Banzhaf as Banzhaf
    from pellucid.methods.blur_ig import BlurIG as BlurIG
    from pellucid.methods.cam import CAM as CAM
    from pellucid.methods.cam import GradCAM as GradCAM
    from pellucid.methods.cam import GradCAMPlusPlus as GradCAMPlusPlus
    from pellucid.methods.cam import HiResCAM as HiResCAM
    from pellucid.methods.cam import LayerCAM as LayerCAM
    from pellucid.methods.cam import XGradCAM as XGradCAM
    from pellucid.methods.cam_ablation import AblationCAM as AblationCAM
    from pellucid.methods.cam_eigen import EigenCAM as EigenCAM
    from pellucid.methods.cam_eigen import EigenGradCAM as EigenGradCAM
    from pellucid.methods.cam_masked import ISCAM as ISCAM
    from pellucid.methods.cam_masked import SSCAM as SSCAM
    from pellucid.methods.cam_masked import ScoreCAM as ScoreCAM
    from pellucid.methods.cam_shapley import ShapleyCAM as ShapleyCAM
    from pellucid.methods.cam_smooth import SmoothGradCAMPlusPlus as SmoothGradCAMPlusPlus
    from pellucid.methods.chefer import GenericAttention as GenericAttention
    from pellucid.methods.chefer import TransformerAttribution as TransformerAttribution
    from pellucid.methods.combinators import Integrate as Integrate
    from pellucid.methods.combinators import Smooth as Smooth
    from pellucid.methods.crp import CRP as CRP
    from pellucid.methods.deep_lift import DeepLift as DeepLift
    from pellucid.methods.deep_lift import DeepLiftShap as DeepLiftShap
    from pellucid.methods.exact_shapley import ExactShapley as ExactShapley
    from pellucid.methods.expected_gradients import ExpectedGradients as ExpectedGradients
    from pellucid.methods.extremal_perturbation import ExtremalPerturbation as ExtremalPerturbation
    from pellucid.methods.feature_ablation import FeatureAblation as FeatureAblation
    from pellucid.methods.finer_cam import FinerCAM as FinerCAM
    from pellucid.methods.full_grad import FullGrad as FullGrad
    from pellucid.methods.gradient import Gradient as Gradient
    from pellucid.methods.gradient import InputXGradient as InputXGradient
    from pellucid.methods.guided import Deconvnet as Deconvnet
    from pellucid.methods.guided import GuidedBackprop as GuidedBackprop
    from pellucid.methods.guided_grad_cam import GuidedGradCAM as GuidedGradCAM
    from pellucid.methods.guided_ig import GuidedIG as GuidedIG
    from pellucid.methods.hsic_attribution import HSICAttribution as HSICAttribution
    from pellucid.methods.idgi import IDGI as IDGI
    from pellucid.methods.integrated_gradients import IntegratedGradients as IntegratedGradients
    from pellucid.methods.internal import Conductance as Conductance
    from pellucid.methods.internal import InternalInfluence as InternalInfluence
    from pellucid.methods.kernel_shap import KernelSHAP as KernelSHAP
    from pellucid.methods.le_grad import LeGrad as LeGrad
    from pellucid.methods.lime import LIME as LIME
    from pellucid.methods.lrp import LRP as LRP
    from pellucid.methods.occlusion import Occlusion as Occlusion
    from pellucid.methods.owen_shapley import OwenShapley as OwenShapley
    from pellucid.methods.permutation_shap import PermutationSHAP as PermutationSHAP
    from pellucid.methods.rect_grad import RectGrad as RectGrad
    from pellucid.methods.rise import RISE as RISE
    from pellucid.methods.shapley_interactions import ShapleyInteractions as ShapleyInteractions
    from pellucid.methods.smooth_grad import SmoothGrad as SmoothGrad
    from pellucid.methods.smooth_grad import VarGrad as VarGrad
    from pellucid.methods.sobol_attribution import SobolAttribution as SobolAttribution
    from pellucid.methods.stratified_shapley import StratifiedShapley as StratifiedShapley
    from pellucid.methods.tabular_lime import TabularLIME as TabularLIME
    from pellucid.methods.xrai import XRAI as XRAI
    from pellucid.preprocess import Preprocess as Preprocess
    from pellucid.preprocess import Table as Table
    from pellucid.preprocess import Words as Words
    from pellucid.studies.pick import submodular_pick as submodular_pick
    from pellucid.views import panel as panel

    read = _load

# Names are fetched when they are first used: `pellucid --help` need not wait for torch.
_HOMES = {
    "pellucid.api": (
        "wrap",
        "load",
        "as_classifier",
        "as_regressor",
        "explain",
        "measure",
        "compare",
        "plan",
        "audit",
        "layers",
        "cite",
        "report",
    ),
    "pellucid.api.checkup": ("doctor",),
    "pellucid.api.counterfactuals": ("counterfactual",),
    "pellucid.api.difference": ("diff",),
    "pellucid.api.permutation": ("feature_permutation",),
    "pellucid.api.sanity": ("sanity",),
    "pellucid.api.scorecard": ("scorecard",),
    "pellucid.api.sessions": ("session",),
    "pellucid.api.studies": ("surrogate",),
    "pellucid.core.diagnosis": ("Diagnosis", "Finding"),
    "pellucid.core.difference": ("Difference", "Differences"),
    "pellucid.api.closed": ("linear_shap", "tree_shap"),
    "pellucid.core.explanation": ("Explanation", "Explanations", "Kind"),
    "pellucid.core.measurements": ("Measurement", "Measurements"),
    "pellucid.core.site": ("Site",),
    "pellucid.core.store": ("save", "load:read"),
    "pellucid.core.target": ("Class", "Contrast", "Each", "Score", "Top", "Unit"),
    "pellucid.methods.anchors": ("Anchors",),
    "pellucid.methods.attention_rollout": ("AttentionRollout",),
    "pellucid.methods.banzhaf": ("Banzhaf",),
    "pellucid.methods.blur_ig": ("BlurIG",),
    "pellucid.methods.cam": ("CAM", "GradCAM", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "XGradCAM"),
    "pellucid.methods.cam_ablation": ("AblationCAM",),
    "pellucid.methods.cam_eigen": ("EigenCAM", "EigenGradCAM"),
    "pellucid.methods.cam_masked": ("ISCAM", "SSCAM", "ScoreCAM"),
    "pellucid.methods.cam_shapley": ("ShapleyCAM",),
    "pellucid.methods.cam_smooth": ("SmoothGradCAMPlusPlus",),
    "pellucid.methods.chefer": ("GenericAttention", "TransformerAttribution"),
    "pellucid.methods.combinators": ("Integrate", "Smooth"),
    "pellucid.methods.crp": ("CRP",),
    "pellucid.methods.deep_lift": ("DeepLift", "DeepLiftShap"),
    "pellucid.methods.exact_shapley": ("ExactShapley",),
    "pellucid.methods.expected_gradients": ("ExpectedGradients",),
    "pellucid.methods.extremal_perturbation": ("ExtremalPerturbation",),
    "pellucid.methods.feature_ablation": ("FeatureAblation",),
    "pellucid.methods.finer_cam": ("FinerCAM",),
    "pellucid.methods.full_grad": ("FullGrad",),
    "pellucid.methods.gradient": ("Gradient", "InputXGradient"),
    "pellucid.methods.guided": ("Deconvnet", "GuidedBackprop"),
    "pellucid.methods.guided_grad_cam": ("GuidedGradCAM",),
    "pellucid.methods.guided_ig": ("GuidedIG",),
    "pellucid.methods.hsic_attribution": ("HSICAttribution",),
    "pellucid.methods.idgi": ("IDGI",),
    "pellucid.methods.integrated_gradients": ("IntegratedGradients",),
    "pellucid.methods.internal": ("Conductance", "InternalInfluence"),
    "pellucid.methods.kernel_shap": ("KernelSHAP",),
    "pellucid.methods.le_grad": ("LeGrad",),
    "pellucid.methods.lime": ("LIME",),
    "pellucid.methods.lrp": ("LRP",),
    "pellucid.methods.occlusion": ("Occlusion",),
    "pellucid.methods.owen_shapley": ("OwenShapley",),
    "pellucid.methods.permutation_shap": ("PermutationSHAP",),
    "pellucid.methods.rect_grad": ("RectGrad",),
    "pellucid.methods.rise": ("RISE",),
    "pellucid.methods.shapley_interactions": ("ShapleyInteractions",),
    "pellucid.methods.smooth_grad": ("SmoothGrad", "VarGrad"),
    "pellucid.methods.sobol_attribution": ("SobolAttribution",),
    "pellucid.methods.stratified_shapley": ("StratifiedShapley",),
    "pellucid.methods.tabular_lime": ("TabularLIME",),
    "pellucid.methods.xrai": ("XRAI",),
    "pellucid.preprocess": ("Preprocess", "Table", "Words"),
    "pellucid.studies.pick": ("submodular_pick",),
    "pellucid.views": ("panel",),
}
_HOME = {name.rpartition(":")[2]: (home, name.partition(":")[0]) for home, names in _HOMES.items() for name in names}
_PARTS = ("images", "metrics", "plots", "regions", "registry", "views", "zoo")


def __getattr__(name: str) -> Any:
    if name in _HOME:
        home, known_as = _HOME[name]
        value = getattr(import_module(home), known_as)
    elif name in _PARTS:
        value = import_module(f"pellucid.{name}")
    else:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_PARTS})
