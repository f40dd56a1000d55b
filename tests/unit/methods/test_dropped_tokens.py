"""Players of a vision transformer are taken out as tokens: the answer is that of the model run on the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.methods.vits import ViT
from tests.unit.models import net
from torch import Tensor, nn

import pellucid
from pellucid import LIME, Anchors, Banzhaf, ExactShapley, FeatureAblation, KernelSHAP, OwenShapley, SobolAttribution
from pellucid.core.errors import InputError, ParameterError, SiteError
from pellucid.core.points import generator
from pellucid.ops.shapley_fit import shapley

timm: Any = pytest.importorskip("timm")
torchvision: Any = pytest.importorskip("torchvision")

GRID, PATCH = 4, 8
X = torch.rand(2, 3, GRID * PATCH, GRID * PATCH, generator=generator(0, "tokens"), dtype=torch.float64)


def randomised(model: nn.Module) -> Any:
    """Weights as large as those of trained models, so that tokens matter."""
    draw = generator(1, "weights")
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) * (0.3 if p.ndim > 1 else 0.1) + (p.ndim == 1) * 0.5)
    return model.eval().double()


def of_timm(**how: Any) -> Any:
    sizes = {"img_size": GRID * PATCH, "patch_size": PATCH, "embed_dim": 16, "depth": 3, "num_heads": 2}
    return randomised(timm.models.vision_transformer.VisionTransformer(**sizes, num_classes=5, **how))


def of_torchvision() -> Any:
    sizes = {"image_size": GRID * PATCH, "patch_size": PATCH, "num_layers": 3, "num_heads": 2, "hidden_dim": 16}
    return randomised(torchvision.models.VisionTransformer(**sizes, mlp_dim=32, num_classes=5))


def timm_by_hand(model: Any, x: Tensor, kept: Tensor) -> Tensor:
    tokens = model._pos_embed(model.patch_embed(x))
    prefix = model.num_prefix_tokens
    tokens = torch.cat([tokens[:, :prefix], tokens[:, prefix:][:, kept]], 1)
    return model.forward_head(model.norm(model.blocks(model.norm_pre(tokens))))


def torchvision_by_hand(model: Any, x: Tensor, kept: Tensor) -> Tensor:
    patches = model._process_input(x)
    tokens = torch.cat([model.class_token.expand(len(x), -1, -1), patches], 1) + model.encoder.pos_embedding
    tokens = torch.cat([tokens[:, :1], tokens[:, 1:][:, kept]], 1)
    return model.heads(model.encoder.ln(model.encoder.layers(tokens))[:, 0])


MODELS: dict[str, tuple[Any, Any]] = {
    "timm": (of_timm, timm_by_hand),
    "timm, registers": (lambda: of_timm(reg_tokens=3, no_embed_class=True), timm_by_hand),
    "timm, norm before": (lambda: of_timm(pre_norm=True), timm_by_hand),
    "torchvision": (of_torchvision, torchvision_by_hand),
}


def of_transformers() -> Any:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**sizes, image_size=GRID * PATCH, patch_size=PATCH, num_labels=5)
    return randomised(transformers.ViTForImageClassification(config))


def test_a_vit_of_hugging_face() -> None:
    model = of_transformers()
    tokens = model.vit.embeddings(X)
    for layer in model.vit.encoder.layer if hasattr(model.vit, "encoder") else model.vit.layers:
        out = layer(tokens[:, :1] if layer is None else tokens)
        tokens = out[0] if isinstance(out, tuple) else out
    assert torch.allclose(model.classifier(model.vit.layernorm(tokens)[:, 0]), model(X).logits)

    def by_hand(keep: Tensor) -> Tensor:
        tokens = model.vit.embeddings(X)
        tokens = torch.cat([tokens[:, :1], tokens[:, 1:][:, keep]], 1)
        for layer in model.vit.encoder.layer if hasattr(model.vit, "encoder") else model.vit.layers:
            out = layer(tokens)
            tokens = out[0] if isinstance(out, tuple) else out
        return model.classifier(model.vit.layernorm(tokens)[:, 0])[:, 2]

    got = explained(model, FeatureAblation(fill="drop"))
    every = torch.ones(GRID * GRID, dtype=torch.bool)
    less = every.clone()
    less[5] = False
    assert torch.allclose(got.extras["players"][:, 5], (by_hand(every) - by_hand(less)).detach(), atol=1e-9)


def explained(model: Any, method: Any, x: Tensor = X, **how: Any) -> Any:
    return pellucid.explain(pellucid.wrap(model), x, method, target=2, output="logit", **how)[0]


@pytest.mark.parametrize("name", MODELS)
def test_one_token_less_is_the_model_run_on_the_others(name: str) -> None:
    make, by_hand = MODELS[name]
    model = make()
    got = explained(model, FeatureAblation(fill="drop"))
    every = torch.ones(GRID * GRID, dtype=torch.bool)
    whole = by_hand(model, X, every)
    assert torch.allclose(whole, model(X))
    drops: list[Tensor] = []
    for token in range(GRID * GRID):
        less = every.clone()
        less[token] = False
        drops.append((whole - by_hand(model, X, less))[:, 2])
    wanted = torch.stack(drops, 1).detach()
    assert torch.allclose(got.extras["players"], wanted, atol=1e-9)
    assert float(wanted.abs().max()) > 1e-3
    maps = wanted.view(2, GRID, GRID).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    assert torch.allclose(got.values, maps, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_shapley_values_of_groups_of_tokens_by_enumeration(name: str) -> None:
    make, by_hand = MODELS[name]
    model = make()
    got = explained(model, ExactShapley(fill="drop", regions="cells(2, 2)"))
    place = torch.arange(GRID * GRID).view(GRID, GRID)
    group = (place // GRID * 2 // GRID * 2 + place % GRID * 2 // GRID).flatten()
    worths = [by_hand(model, X, torch.tensor([bool(s >> int(g) & 1) for g in group]))[:, 2] for s in range(16)]
    assert torch.allclose(got.extras["players"], shapley(torch.stack(worths, 1).detach()), atol=1e-9)
    assert got.check("efficiency").passed == (True, True)


def test_single_precision() -> None:
    model = of_timm()
    both = [explained(m, ExactShapley(fill="drop", regions="cells(2, 2)"), x).extras["players"].double()
            for m, x in ((model, X), (of_timm().float(), X.float()))]  # fmt: skip
    assert (both[0] - both[1]).abs().max() < 1e-6 * both[0].abs().max().clamp_min(1) * 10


@pytest.mark.parametrize(
    "method",
    [
        LIME(samples=60, fill="drop"),
        KernelSHAP(samples=60, fill="drop"),
        Banzhaf(samples=60, fill="drop"),
        OwenShapley(calls=40, fill="drop"),
    ],
)
def test_rows_batches_and_chunks_do_not_matter(method: Any) -> None:
    model = of_timm()
    together = explained(model, method)
    for b in range(2):
        alone = explained(model, method, X[b : b + 1])
        assert torch.allclose(together.values[b], alone.values[0], atol=1e-9)
    chunked: Any = pellucid.explain(pellucid.wrap(model, rows=3), X, method, target=2, output="logit")[0]
    assert torch.allclose(together.values, chunked.values, atol=1e-9)
    assert together.extras["players"].shape == (2, GRID * GRID)


def test_a_photo_runs_once_up_to_its_tokens() -> None:
    passes = explained(of_timm(), LIME(samples=200, fill="drop"), X[:1]).record.passes
    assert passes.tails >= 195  # but those that are the only ones with so many tokens
    assert passes.forward < 20  # the photo, and it again for every number of tokens that is left


def test_methods_share_their_coalitions() -> None:
    model = pellucid.wrap(of_timm())
    both = pellucid.explain(model, X, [LIME(samples=60, fill="drop"), Banzhaf(samples=60, fill="drop")], target=2)
    alone = pellucid.explain(model, X, LIME(samples=60, fill="drop"), target=2)
    assert both[0].record.passes.tails == alone[0].record.passes.tails > 100


def test_what_a_plan_says_is_what_runs() -> None:
    method = KernelSHAP(samples=40, fill="drop")
    model = pellucid.wrap(of_timm())
    planned = pellucid.plan(model, X, method, target=2)
    spent: Any = pellucid.explain(model, X, method, target=2)[0].record.passes
    assert (planned.most.tails, planned.most.forward) == (spent.tails, spent.forward)


# -- refused -------------------------------------------------------------------------------------------------------


class Late(nn.Module):
    """Positions that are added behind the tokens' layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = of_timm()
        self.inner.pos_embed.data.zero_()
        self.place = nn.Parameter(torch.randn(1, GRID * GRID + 1, 16, generator=generator(4, "late")).double())

    def forward(self, x: Tensor) -> Tensor:
        m = self.inner
        tokens = m.norm_pre(m._pos_embed(m.patch_embed(x))) + self.place
        return m.forward_head(m.norm(m.blocks(tokens)))


def test_positions_added_later_are_seen() -> None:
    with pytest.raises(SiteError, match="order matters"):
        explained(Late().eval(), LIME(fill="drop"))


def test_windows_are_refused() -> None:
    swin = timm.models.swin_transformer.SwinTransformer(
        img_size=32, patch_size=4, embed_dim=8, depths=(2,), num_heads=(2,), window_size=4, num_classes=5
    )
    with pytest.raises(SiteError, match="tokens"):
        explained(randomised(swin), LIME(fill="drop"))


def test_positions_inside_the_attention_are_refused() -> None:
    beit = timm.models.beit.Beit(
        img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5, use_rel_pos_bias=True
    )
    with pytest.raises(SiteError, match="order matters"):
        explained(randomised(beit), LIME(fill="drop"))


def test_models_without_attention_and_functions_are_refused() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(SiteError, match="no attention"):
        explained(randomised(plain), LIME(fill="drop"))
    with pytest.raises(SiteError, match="only be asked for scores"):
        explained(lambda x: x.flatten(1)[:, :5], LIME(fill="drop"))
    with pytest.raises(SiteError, match="before the first attention"):
        explained(net(ViT()).double(), LIME(fill="drop"), X[:, :, :8, :12])


def test_regions_are_whole_patches_that_are_there_or_not() -> None:
    model = of_timm()
    for regions in ("cells(3, 3)", "slic"):
        with pytest.raises(ParameterError, match="whole patches"):
            explained(model, LIME(fill="drop", regions=regions))
    with pytest.raises(ParameterError, match="mixes"):
        explained(model, Anchors(fill="drop"))
    assert bool(
        explained(model, SobolAttribution(samples=8, fill="drop")).values.isfinite().all()
    )  # no share of a token


def test_the_mean_of_no_tokens_is_no_score() -> None:
    model = of_timm(global_pool="avg", class_token=False, fc_norm=False)
    with pytest.raises(InputError, match="no score"):
        explained(model, KernelSHAP(samples=20, fill="drop"))
    got = explained(model, FeatureAblation(fill="drop"))
    assert bool(got.values.isfinite().all())


def test_no_metric_drops_tokens_so_none_is_in_sample() -> None:
    model = pellucid.wrap(of_timm())
    got = pellucid.explain(model, X, FeatureAblation(fill="drop"), target=2)
    judged = pellucid.measure(model, got, "deletion", inputs=X)[0]
    assert not judged.in_sample
