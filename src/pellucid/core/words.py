"""The glossary: one name, meaning and unit per parameter in the whole toolkit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """One parameter name."""

    meaning: str
    unit: str = ""


WORDS: dict[str, Word] = {
    "samples": Word("random draws; the error of the mean falls with their square root", "draws"),
    "steps": Word("deterministic subdivisions of a path", "points"),
    "max_samples": Word("adaptive methods stop here, whatever the remaining error", "draws"),
    "max_steps": Word("adaptive methods stop here, whatever the remaining error", "points"),
    "tolerance": Word(
        "largest error allowed: of paths the completeness gap, relative to the difference of scores; of samples the "
        "standard error, relative to the largest value; steps or samples are added until it is reached",
        "fraction",
    ),
    "until_top": Word(
        "how many of those that count most are to be known: samples are added until each is above all others by more "
        "than 1.96 standard errors of the difference"
    ),
    "seed": Word("start of the method's own random generator; the global random state is never touched"),
    "std": Word("standard deviation of noise", "units of the input in pixels (0 black, 1 white)"),
    "spread": Word("standard deviation of noise", "fraction of the input's range (max − min, in pixels)"),
    "baseline": Word(
        "start of a path: an input that carries no evidence; a name, a number, a tensor or a picture", "pixels"
    ),
    "baselines": Word("starts of paths, averaged", "pixels"),
    "fill": Word(
        "what hidden parts show; a name, a number, a tensor or another picture; a list is a background set, and the "
        "mean counts; `drop` takes the tokens of a vision transformer out",
        "pixels; of other rows, their own units",
    ),
    "at": Word("the site where the numbers are measured; a layer's name or object, `auto`, or nothing for the input"),
    "rule": Word("how an integral is approximated, or how an operator hands its signal on"),
    "precision": Word(
        "the numbers to compute with: the model's own, double precision, or double where rounding takes too much"
    ),
    "percentile": Word("share of the signals that is cut off", "per cent"),
    "relu": Word("whether negative values of the map are set to zero"),
    "window": Word("height and width of what is hidden at once", "pixels of the model's view"),
    "stride": Word("steps between windows", "pixels of the model's view"),
    "method": Word("the method that is wrapped"),
    "statistic": Word("what is reported of the draws"),
    "times_input": Word("multiply the mean gradient with the clean input (SmoothGrad × Input as sauron defines it)"),
    "composite": Word("which rule serves which operators: a preset's name, or a Composite"),
    "layers": Word("more layers whose values are wanted; `all` for all with a map"),
    "start": Word("what is distributed: the `score` explained, or `one`"),
    "epsilon": Word("stabiliser of linear layers, absolute; nothing for the preset's own", "units of a layer's output"),
    "gamma": Word("how much more counts what has the sign of a layer's output; nothing for the preset's own"),
    "unknown": Word("operators without a rule: `error`, or `gradient` for their plain gradient, which the audit shows"),
    "concepts": Word("numbers of the channels that are followed; none of them for the most relevant ones"),
    "top": Word("how many of the most relevant are chosen"),
    "upsample": Word("how a coarse map is brought to the size of the input"),
    "fraction": Word("part of the features that are moved at a time", "fraction"),
    "max_dist": Word("how far a feature may be from where it would be on the straight line", "fraction of its way"),
    "max_sigma": Word("standard deviation of the strongest blur", "pixels of the model's view"),
    "scales": Word("preferences for large segments, one segmentation each; more gives larger ones"),
    "dilation": Word("how far every segment is grown, so that it holds its edges", "pixels at 224 × 224"),
    "channels": Word("how many channels of the layer are used, those that vary most over the places; None for all"),
    "others": Word("how many similar classes the class is compared with"),
    "strength": Word("how much of the similar classes' mean score is subtracted; 0 nothing, 1 all of it", "factor"),
    "heads": Word("how the heads of an attention become one matrix"),
    "query": Word("the tokens whose row of a matrix from tokens to tokens is shown"),
    "regions": Word(
        "what is hidden together: `slic`, `cells(7, 7)`, `quickshift`, `felzenszwalb`, a label map; of rows, "
        "the group of every column; `auto`: a method's own regions of pictures, every column, every word"
    ),
    "design": Word(
        "how coalitions are drawn: fair coins, with complements, low-discrepancy points, Hadamard columns …"
    ),
    "index": Word("which definition of joint effects"),
    "show": Word("what the map shows of joint effects: the `total` of a region with half of its pairs, or its `own`"),
    "areas": Word("parts of the picture that a mask may show, one mask each", "fraction"),
    "mode": Word("whether a mask shows what keeps the score (`preserve`) or hides what lowers it (`delete`)"),
    "cells": Word("places of a mask along each side", "places"),
    "reach": Word("standard deviation of the spot that one place of a mask lights", "fraction of the shorter side"),
    "strata": Word("parts of the way from none to all shown in which each player arrives equally often", "parts"),
    "calls": Word("coalitions that may be asked for, for every row, or for each of its targets", "rows"),
    "hierarchy": Word("the tree of players: `nearest`, nested lists of their numbers, or merges as of a linkage"),
    "p_remove": Word("chance that a region is hidden", "0 … 1"),
    "share": Word("chance that a place is shown", "0 … 1"),
    "width": Word(
        "of the kernel that makes pictures with much hidden, or rows far away, count less",
        "cosine distance; of rows, the distance chosen",
    ),
    "quantiles": Word("bins with equally many rows of the table, rather than bins of equal width"),
    "draw": Word("how numbers are drawn, within their bins or without bins"),
    "distance": Word("how far a drawn row is from what is explained"),
    "power": Word("of the distance that is taken from one"),
    "unit": Word("what a weight of a number that is not binned is per: standard deviations, or ones"),
    "table": Word("rows whose columns are drawn as they vary; nothing for those that the model was wrapped with"),
    "ridge": Word("penalty on the squares of the weights", "units of the samples' weights"),
    "kernel": Word("how a sample's weight comes from its distance to what is explained"),
    "penalty": Word(
        "what the strength of a ridge is measured on: `ridge` the weights, `glmnet` those of standardised columns"
    ),
    "features": Word("how many regions may have a weight; nothing for all"),
    "select": Word("how the regions that have a weight are chosen, where not all have"),
    "antithetic": Word("every random order is followed by its reverse"),
    "order": Word("what a region does with all others (`total`), or alone (`first`)"),
    "grid": Word("random coins along each side of the picture", "coins"),
    "first": Word("which parts go first: the `most` important, the `least`, or the difference of `both`"),
    "radius": Word("how far perturbed inputs are at most, in each number", "fraction of the input's range"),
    "radius_of": Word("what the radius is counted in: the input's `range`, or the model's own `units`"),
    "level": Word("where a map is cut: a fraction of its highest value, or a share of its places", "0 … 1"),
    "part": Word("share of the parts that goes in the end", "0 … 1"),
    "shares": Word("shares of the places that are looked at", "0 … 1 each"),
    "hidden": Word("share of the parts that is hidden at a time", "0 … 1"),
    "sets": Word("what a random subset is: parts of one `size`, or each part by its `own` coin"),
    "correlation": Word("`pearson` of the numbers, or `spearman` of their ranks, equal ones sharing theirs"),
    "reduce": Word("channels to one value per place: `sum`, `abs` for magnitudes, `auto` by what the map means"),
    "estimator": Word("how values are made of scores"),
    "threshold": Word("precision that an anchor must have", "0 … 1"),
    "delta": Word("chance that a bound is wrong", "0 … 1"),
    "tau": Word("how much worse than the best a set may be that is grown further", "precision"),
    "slack": Word("how far the lower bound of the precision may lie below the threshold", "precision"),
    "beam_size": Word("how many sets are grown further"),
    "most": Word("players of an anchor, at most; nothing for no limit"),
    "batch": Word("draws in one question; what is drawn next depends on the answers", "draws"),
    "likeness": Word("how alike maps are: `spearman`, `abs_spearman` of magnitudes, or `ssim` of the places"),
    "bins": Word("of a histogram between the ends of a map, or of a column of numbers, 0 for none", "bins"),
}
