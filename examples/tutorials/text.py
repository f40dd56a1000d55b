"""A text: which words decide."""

# %% [markdown]
# Fifty-two short reviews of restaurants were made up for this page (`examples/tutorials/reviews.py`), half of them by
# content guests. Two models learn them: one of scikit-learn that counts words, and a small torch network that reads
# vectors of words. For both the question is the same: which words decide?

# %%
from pathlib import Path

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import Tensor, nn

import pellucid
from examples.tutorials.reviews import BAD, GOOD
from pellucid import LIME, IntegratedGradients, KernelSHAP, Words, plots, views
from pellucid.preprocess.boundaries import words

OUT = Path("tutorial-text")
OUT.mkdir(exist_ok=True)
TEXTS, LABELS = [*BAD, *GOOD], ["bad", "good"]
TRUTH = [0] * len(BAD) + [1] * len(GOOD)
REVIEW = "The waiter was not friendly and the soup was cold, but we loved the excellent dessert."

# %% [markdown]
# ## Any function of strings
#
# `Words()` says how texts are taken apart: by the same rules as R's lime does. Whatever scores strings will do, a
# pipeline of scikit-learn or of Hugging Face, or a function of your own.

# %%
counts = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10)).fit(TEXTS, TRUTH)
model = pellucid.wrap(counts, Words(), LABELS, name="counts of words")

# %% [markdown]
# **LIME** hides words, asks, and fits a linear model. These are the definitions of Python's lime for texts: equal
# words are hidden together, and first it is drawn how many. Equal coalitions are asked for once.

# %%
lime = LIME(samples=2000, regions="vocabulary", design="by_hidden", features=6)
(why,) = pellucid.explain(model, REVIEW, lime, target="good")
shown = plots.plot_text_explanations(why)
shown.save(OUT / "text-lime.png", overwrite=True)
shown.save(OUT / "text-lime.html", overwrite=True)
print(shown.alt)

# %% [markdown]
# ![Six words highlighted](text-lime.png)
#
# The model takes “friendly” for praise although the guest wrote “not friendly”: it counts words, and has learnt of
# that pair too little. “was” is counted against the restaurant, since who complains tells what was. That is what such
# pictures are for.
#
# **Kernel SHAP** shares out the difference between the whole text and the empty one, so that the arrows meet at the
# probability.

# %%
(shares,) = pellucid.explain(model, REVIEW, KernelSHAP(samples=2000), target="good")
plots.force(shares).save(OUT / "text-force.png", overwrite=True)

# %% [markdown]
# ![What pushes up, and what pushes down](text-force.png)
#
# ## Which words matter in all reviews?

# %%
(each,) = pellucid.explain(model, TEXTS, LIME(samples=400, regions="vocabulary"), target="good")
plots.bar(each, max_display=12).save(OUT / "text-bar.png", overwrite=True)

# %% [markdown]
# ![The mean size of weights](text-bar.png)
#
# ## A network, and its gradients
#
# A torch model takes token ids, and its tokenizer says what they mean: anything that is called like those of
# `transformers` will do. Words that it does not know, or that are hidden, are `[UNK]`; in training every tenth word
# is hidden, so that the network has seen what that is.


# %%
class Vocabulary:
    """The words of the reviews by number; 0 is padding, 1 what is unknown or hidden."""

    pad_token_id, mask_token_id = 0, 1

    def __init__(self, texts: list[str]) -> None:
        self.names = ["[PAD]", "[UNK]", *sorted({word for text in texts for word in self.cut(text)})]

    @staticmethod
    def cut(text: str) -> list[str]:
        return [text[start:stop].lower() for start, stop in words(text)]

    def __call__(self, texts: list[str], **more: object) -> dict[str, list[list[int]]]:
        known = {name: number for number, name in enumerate(self.names)}
        return {"input_ids": [[known.get(word, 1) for word in self.cut(text)] for text in texts]}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.names[number] for number in ids]


class Network(nn.Module):
    """Vectors of words, each looking at its neighbours, the mean of them, two scores."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, 24, padding_idx=0)
        self.near = nn.Conv1d(24, 24, 3, padding=1)
        self.head = nn.Linear(24, 2)

    def forward(self, input_ids: Tensor) -> Tensor:
        there = (input_ids != 0).unsqueeze(-1)
        seen = torch.relu(self.near(self.vectors(input_ids).mT).mT) * there
        return self.head(seen.sum(1) / there.sum(1).clamp_min(1))


vocabulary = Vocabulary(TEXTS)
rows = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in vocabulary(TEXTS)["input_ids"]], batch_first=True)
with torch.random.fork_rng(devices=[]):
    torch.random.manual_seed(0)
    network = Network(len(vocabulary.names))
    steps = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=1e-4)
    for _ in range(120):
        hidden = torch.where((torch.rand(rows.shape) < 0.1) & (rows != 0), 1, rows)
        loss = nn.functional.cross_entropy(network(hidden), torch.tensor(TRUTH))
        steps.zero_grad()
        loss.backward()
        steps.step()
reader = pellucid.wrap(network.eval(), vocabulary, LABELS, name="network")

# %% [markdown]
# **Integrated gradients** follow the score from vectors of nothing to those of the words, and Kernel SHAP hides words
# of the same network: two answers that share nothing but the model. Where they agree, the picture is the model's and
# not the method's.

# %%
both = pellucid.explain(reader, REVIEW, [IntegratedGradients(steps=64), KernelSHAP(samples=2000)], target="good")
for explanation, name in zip(both, ("gradients", "shap"), strict=True):
    (coloured,) = views.tokens(explanation)
    coloured.save(OUT / f"text-{name}.png", overwrite=True)
    print(coloured.drawn.alt)

# %% [markdown]
# ![Integrated gradients of the network](text-gradients.png)
#
# ![Kernel SHAP of the network](text-shap.png)
#
# They agree, and what they agree on is a mistake: to this network “not friendly” is twice praise, because those who
# were content wrote “not expensive” and “not too loud”.
#
# ## While you write
#
# `plots.interactive_text_explanations(model)` opens a page on this machine that highlights the words of whatever one
# writes:
#
#     with plots.interactive_text_explanations(model) as page:
#         print(page.url)
#         page.wait()
