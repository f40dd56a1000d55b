"""One file, one metric, or one family that shares its questions. Metrics know neither each other nor the engine."""

from __future__ import annotations

from pellucid.metrics.agreement import RankAgreement as RankAgreement
from pellucid.metrics.agreement import TopAgreement as TopAgreement
from pellucid.metrics.average_drop import AverageDrop as AverageDrop
from pellucid.metrics.average_drop import AverageGain as AverageGain
from pellucid.metrics.average_drop import AverageIncrease as AverageIncrease
from pellucid.metrics.completeness import CompletenessGap as CompletenessGap
from pellucid.metrics.complexity import EffectiveComplexity as EffectiveComplexity
from pellucid.metrics.complexity import Entropy as Entropy
from pellucid.metrics.complexity import Sparseness as Sparseness
from pellucid.metrics.deletion import Deletion as Deletion
from pellucid.metrics.deletion import Insertion as Insertion
from pellucid.metrics.deletion import InsertionDeletion as InsertionDeletion
from pellucid.metrics.erasure import Comprehensiveness as Comprehensiveness
from pellucid.metrics.erasure import Sufficiency as Sufficiency
from pellucid.metrics.fidelity import FidelityCorrelation as FidelityCorrelation
from pellucid.metrics.fidelity import SensitivityN as SensitivityN
from pellucid.metrics.flipping import IROF as IROF
from pellucid.metrics.flipping import PixelFlipping as PixelFlipping
from pellucid.metrics.flipping import RegionPerturbation as RegionPerturbation
from pellucid.metrics.infidelity import Infidelity as Infidelity
from pellucid.metrics.invariance import InputInvariance as InputInvariance
from pellucid.metrics.invariance import NonSensitivity as NonSensitivity
from pellucid.metrics.localisation import IOU as IOU
from pellucid.metrics.localisation import AttributionLocalisation as AttributionLocalisation
from pellucid.metrics.localisation import LocalisationAUC as LocalisationAUC
from pellucid.metrics.localisation import PointingGame as PointingGame
from pellucid.metrics.localisation import RelevanceMass as RelevanceMass
from pellucid.metrics.localisation import RelevanceRank as RelevanceRank
from pellucid.metrics.localisation import TopKIntersection as TopKIntersection
from pellucid.metrics.monotonicity import Monotonicity as Monotonicity
from pellucid.metrics.prediction_gap import PredictionGapImportant as PredictionGapImportant
from pellucid.metrics.prediction_gap import PredictionGapUnimportant as PredictionGapUnimportant
from pellucid.metrics.prediction_gap import against_truth as against_truth
from pellucid.metrics.randomisation import EfficientRandomisation as EfficientRandomisation
from pellucid.metrics.randomisation import ParameterRandomisation as ParameterRandomisation
from pellucid.metrics.randomisation import RandomLogit as RandomLogit
from pellucid.metrics.road import ROAD as ROAD
from pellucid.metrics.robustness import AvgSensitivity as AvgSensitivity
from pellucid.metrics.robustness import LocalLipschitz as LocalLipschitz
from pellucid.metrics.robustness import MaxSensitivity as MaxSensitivity
from pellucid.metrics.robustness import RelativeInputStability as RelativeInputStability
from pellucid.metrics.robustness import RelativeOutputStability as RelativeOutputStability
from pellucid.metrics.robustness import SeedStability as SeedStability
