"""A table: what a model of breast tumours looks at."""

# %% [markdown]
# The data ship with scikit-learn: thirty measurements of 569 tumours, of which 357 are benign. Any model will do that
# has `predict_proba`; this one is a forest of boosted trees, which nobody can read.

# %%
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

import pellucid
from pellucid import KernelSHAP, TabularLIME, plots, views
from pellucid.preprocess import Table

OUT = Path("tutorial-table")
OUT.mkdir(exist_ok=True)

data = load_breast_cancer(as_frame=True)
means = data.data.iloc[:, :10]  # the other twenty are their errors and worst values
frame = means.rename(columns=lambda name: name.removeprefix("mean "))
seen, unseen, truth, held = train_test_split(frame, data.target, random_state=0, stratify=data.target)
forest = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(seen, truth)
print(f"right for {forest.score(unseen, held):.1%} of {len(unseen)} tumours that it has not seen")

# %% [markdown]
# `wrap` makes a handle of it. The table that it was trained on says what the columns are, and what a column shows
# when it is hidden: the values of twenty rows of that table.

# %%
table = Table.of(seen, background=20)
model = pellucid.wrap(forest, table, ["malignant", "benign"])

# %% [markdown]
# ## Why this tumour?
#
# Three ways to ask. **Kernel SHAP** shares the difference between the mean prediction and this one out to the
# columns: the steps of the waterfall add up, exactly. Ten columns have 1,022 coalitions, so that all of them are
# asked for and the values are exact too.

# %%
unsure = abs(forest.predict_proba(unseen)[:, 1] - 0.5).argmin()  # the tumour that the forest is least sure of
one = unseen.iloc[[unsure]]
(shares,) = pellucid.explain(model, one, KernelSHAP(samples=1022), target="benign")
plots.waterfall(shares).save(OUT / "table-waterfall.png", overwrite=True)

# %% [markdown]
# ![What each measurement adds](table-waterfall.png)
#
# **LIME** fits a linear model to what the forest says of rows around this one. A column's weight is what it is worth
# that the value lies in this quarter of the table and not in another. The fit says how much to believe. Here it is
# very low: the forest jumps, rows drawn from the whole table are far from this one, and a straight line explains next
# to nothing of what the forest says of them. The plot says so in red; without that line one would believe its bars.

# %%
(local,) = pellucid.explain(model, one, TabularLIME(samples=4000), target="benign")
plots.plot_features(local).save(OUT / "table-lime.png", overwrite=True)
print(f"fit of the local model: {local.check('r2').value[0]:.2f}")

# %% [markdown]
# ![The weights of the local model](table-lime.png)
#
# **Counterfactuals** ask what would have to be different. The texture of a tumour is what it is, so it is frozen.

# %%
answers = pellucid.counterfactual(model, one, frozen=["texture"], count=2, seed=0)
print(answers)

# %% [markdown]
# ## What matters in all of them?
#
# The same question for sixty tumours, in one call. Every dot of the swarm is a tumour; its colour is the value of the
# column, its place what that value adds to the probability of being benign.

# %%
(many,) = pellucid.explain(model, unseen.iloc[:60], KernelSHAP(samples=256), target="benign")
plots.beeswarm(many).save(OUT / "table-beeswarm.png", overwrite=True)

# %% [markdown]
# ![Every tumour a dot](table-beeswarm.png)
#
# ## A model that one can read
#
# A **surrogate** is fitted to what the forest says, not to the truth. How far the two agree is measured on rows that
# were held out; without that number the tree would be a story.

# %%
tree = pellucid.surrogate(model, seen, kind="tree", depth=3)
views.surrogate(tree).save(OUT / "table-surrogate.png", overwrite=True)
print(tree)

# %% [markdown]
# ![Three questions instead of a forest](table-surrogate.png)
#
# ## As a table
#
# `to_frame` gives the columns of R's lime, then the standard error, the calls, the seed and the method.

# %%
weights = local.to_frame().sort_values("feature_weight", key=abs, ascending=False)
print(weights[["feature", "feature_desc", "feature_weight", "std_error"]].head(3).to_string(index=False))
