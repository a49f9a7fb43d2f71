from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    ViTConfig,
    ViTForImageClassification,
)

from modicum.core.method import Job
from modicum.errors import ConfigError, DataError, ModelError, ModicumError, UnsafeFileError
from modicum.quantize.comparison import METHOD, setup
from modicum.quantize.graph.graph import folded
from modicum.quantize.graph.trace import trace
from modicum.quantize.io.images import PREPARATION_FILE, Preparation, read_preparation, read_samples, read_test
from modicum.quantize.networks import CIFAR, IMAGENET, accuracy, logits, open_network
from modicum.quantize.quantizer import quantize

SIZES = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
NORM = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
X = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng(devices=[]):
        ResNetForImageClassification(SIZES).save_pretrained(place)
    return place


def copied(folder: Path, place: Path, *, without: str = "") -> Path:
    place.mkdir()
    for path in folder.iterdir():
        if path.name != without:
            (place / path.name).write_bytes(path.read_bytes())
    return place


def picture(path: Path, *, width: int, height: int, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_folder_is_read_as_transformers_reads_it(folder: Path) -> None:
    opened = open_network(str(folder))
    expected = ResNetForImageClassification.from_pretrained(folder).eval()
    images = torch.from_numpy(X)
    with torch.no_grad():
        assert torch.equal(logits(opened.network, images), expected(images).logits)
    assert not opened.network.training
    assert opened.folder == folder


def test_the_graph_of_a_folder_keeps_the_names_of_its_weights(folder: Path) -> None:
    network = open_network(str(folder)).network
    graph = folded(trace(network, torch.from_numpy(X)))
    assert {f"{name}.weight" for name in graph.layers} <= set(network.state_dict())
    with torch.no_grad():
        found = graph.run({}, x=torch.from_numpy(X))[graph.output]
        torch.testing.assert_close(found, logits(network, torch.from_numpy(X)))


@pytest.mark.parametrize(
    ("without", "kind", "words"),
    [
        ("config.json", ConfigError, "has no config.json"),
        ("model.safetensors", ConfigError, "has no model.safetensors"),
    ],
)
def test_half_a_folder_is_refused(
    folder: Path, tmp_path: Path, without: str, kind: type[ModicumError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        open_network(str(copied(folder, tmp_path / "half", without=without)))


def test_no_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="There is no folder nowhere"):
        open_network("nowhere")


def test_pickled_weights_are_refused_unread(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path / "pickled", without="model.safetensors")
    (place / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    with pytest.raises(UnsafeFileError, match=r"pytorch_model\.bin alone, a pickle"):
        open_network(str(place))


def test_truncated_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path / "cut")
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="no complete safetensors file"):
        open_network(str(place))


def test_weights_without_a_head_are_refused(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        ResNetModel(SIZES).save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"missing, such as classifier\.1"):
        open_network(str(tmp_path))


def test_weights_of_another_size_are_refused(folder: Path, tmp_path: Path) -> None:
    place = copied(folder, tmp_path / "other")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"embedding_size": 6}))
    with pytest.raises((DataError, ModelError), match=r"other|mismatched"):
        open_network(str(place))


@pytest.mark.parametrize("text", ['{"model_type": "nonsense"}', '{"model_type": "bert"}', "{", "[]"])
def test_what_is_no_image_classifier_is_refused(folder: Path, tmp_path: Path, text: str) -> None:
    place = copied(folder, tmp_path / "odd")
    (place / "config.json").write_text(text)
    with pytest.raises(ModelError, match="cannot be read as an image classifier"):
        open_network(str(place))


def test_code_of_a_folder_does_not_run(folder: Path, tmp_path: Path) -> None:
    place, mark = copied(folder, tmp_path / "code"), tmp_path / "ran"
    (place / "own.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    own = {"AutoConfig": "own.Own", "AutoModelForImageClassification": "own.Own"}
    (place / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": own}))
    with pytest.raises(ModelError):
        open_network(str(place))
    assert not mark.exists()


def test_an_architecture_without_integers_is_refused_by_its_operators() -> None:
    sizes = ViTConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with torch.random.fork_rng(devices=[]):
        network = ViTForImageClassification(sizes).eval()
    with pytest.raises(ModelError, match=r"ViTForImageClassification .* operators .*layer_norm"):
        quantize(network, torch.from_numpy(X), integers_only=True)


def test_images_of_another_shape_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot take samples of shape \(1, 8, 8\)"):
        quantize(open_network(str(folder)).network, torch.randn(2, 1, 8, 8), integers_only=True)


def test_accuracy_is_the_share_of_right_answers() -> None:
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :2]

    images = torch.zeros(410, 1, 1, 2)
    images[:100, ..., 1] = 1
    assert accuracy(First(), images, torch.ones(410, dtype=torch.int64)) == 100 / 410


@pytest.mark.parametrize(
    "written",
    [
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 20}, "resample": 3},
        {
            "image_processor_type": "MobileNetV2ImageProcessor",
            "size": {"shortest_edge": 16},
            "do_center_crop": True,
            "crop_size": {"height": 13, "width": 15},
            "resample": 2,
        },
        {
            "image_processor_type": "MobileNetV2ImageProcessor",
            "do_resize": False,
            "do_center_crop": True,
            "crop_size": {"height": 30, "width": 20},
        },
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 14}, "crop_pct": 0.875},
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 400}, "resample": 3},
        {"image_processor_type": "ViTImageProcessor", "do_resize": False, "rescale_factor": 0.01},
    ],
    ids=lambda it: f"{it['image_processor_type'].removesuffix('ImageProcessor')}-{len(it)}",
)
@pytest.mark.parametrize(("width", "height"), [(31, 23), (22, 29)])
def test_images_are_prepared_as_transformers_does(written: dict, width: int, height: int, tmp_path: Path) -> None:
    (tmp_path / PREPARATION_FILE).write_text(json.dumps({"do_rescale": True, **written, **NORM}))
    path = picture(tmp_path / "one.png", width=width, height=height)
    prepared = read_preparation(tmp_path)
    found = prepared.normalised(prepared.images([path]))
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    expected = processor(Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("crop", [None, (13, 15)])
@pytest.mark.parametrize("resize", [16, (12, 20), None])
def test_a_preparation_is_read_as_it_was_written(
    resize: int | tuple[int, int] | None, crop: tuple[int, int] | None, tmp_path: Path
) -> None:
    prepared = Preparation(resize=resize, crop=crop, resample=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    (tmp_path / PREPARATION_FILE).write_text(json.dumps(prepared.to_dict()))
    assert read_preparation(tmp_path) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        json.dumps(NORM | {"image_std": [0, 1, 1]}),
        json.dumps(NORM | {"image_mean": [0.5]}),
        json.dumps(NORM | {"size": {"shortest_edge": 10**9}}),
        json.dumps(NORM | {"size": "large"}),
        json.dumps(NORM | {"resample": 9}),
    ],
)
def test_a_preparation_that_says_nothing_usable_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / PREPARATION_FILE).write_text(text)
    with pytest.raises(DataError, match="does not say how images are prepared"):
        read_preparation(tmp_path)


def test_grey_networks_read_grey_images(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "red.png")
    found = Preparation(mean=(0.0,), std=(1.0,)).images([tmp_path / "red.png"])
    assert found.shape == (1, 1, 2, 3)
    assert found.unique().tolist() == [76]  # ITU-R 601: 0.299 of 255


def test_arrays_are_read_as_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float64))
    np.savez(tmp_path / "x.npz", x=X, y=np.zeros(5))
    for name in ("x.npy", "x.npz"):
        found = read_samples(tmp_path / name)
        assert found.dtype == torch.float32
        assert torch.equal(found, torch.from_numpy(X))


def test_samples_are_drawn_by_the_seed_without_repetition(tmp_path: Path) -> None:
    rows = np.arange(200, dtype=np.float32).reshape(200, 1, 1, 1)
    np.save(tmp_path / "x.npy", rows)
    first, again, other = (read_samples(tmp_path / "x.npy", 50, seed=seed).flatten() for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique()) == 50
    assert len(read_samples(tmp_path / "x.npy", 300)) == 200


def test_pictures_below_a_folder_are_calibration(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    paths = [
        picture(tmp_path / name, width=32, height=32, seed=seed) for seed, name in enumerate(["b.png", "cats/a.png"])
    ]
    (tmp_path / "notes.txt").write_text("not a picture")
    found = read_samples(tmp_path, preparation=lambda: CIFAR)
    assert torch.equal(found, CIFAR.normalised(CIFAR.images(paths)))
    red = (np.asarray(Image.open(paths[0]))[..., 0] / 255 - 0.485) / 0.229
    np.testing.assert_allclose(found[0, 0].numpy(), red, rtol=0, atol=1e-6)


def test_a_folder_without_a_preparation_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    picture(tmp_path / "one.png", width=8, height=8)
    with pytest.raises(DataError, match=f"has no {PREPARATION_FILE}"):
        read_samples(tmp_path, preparation=lambda: open_network(str(folder)).preparation)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"one\.png cannot be read as an image"):
        read_samples(tmp_path, preparation=lambda: CIFAR)
    (tmp_path / "one.png").unlink()
    with pytest.raises(DataError, match="has no images"):
        read_samples(tmp_path, preparation=lambda: CIFAR)


def test_pictures_of_several_sizes_are_refused_where_nothing_resizes(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", width=8, height=8)
    picture(tmp_path / "b.png", width=9, height=8)
    with pytest.raises(DataError, match="9 x 8 pixels"):
        read_samples(tmp_path, preparation=lambda: Preparation(mean=(0.0,) * 3, std=(1.0,) * 3))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (X[0], "must have shape"),
        (X[:0], "must have shape"),
        (np.float32(1), "must have shape"),
        (np.where(X > 2, np.nan, X), "not finite"),
        (np.full((2, 3, 4, 4), 1e300), "not finite"),
        ((X * 10).astype(np.uint8), "must be normalised, but they are uint8"),
        (X.astype(complex), "must be normalised"),
    ],
    ids=["three axes", "none", "number", "nan", "huge", "uint8", "complex"],
)
def test_arrays_that_are_no_images_are_refused(array: np.ndarray, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=words):
        read_samples(tmp_path / "x.npy")


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "named.npz", images=X)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "cut.npy", X)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    (tmp_path / "x.csv").write_text("1,2")
    for name, kind, words in [
        ("named.npz", DataError, "has no array x, only images"),
        ("objects.npy", UnsafeFileError, "pickled objects"),
        ("cut.npy", DataError, "not a complete"),
        ("x.csv", ConfigError, r"no \.npy or \.npz file"),
        ("none.npy", ConfigError, "There is nothing at"),
    ]:
        with pytest.raises(kind, match=words):
            read_samples(tmp_path / name)
    with pytest.raises(ConfigError, match="is a folder"):
        read_samples(tmp_path)
    with pytest.raises(ConfigError, match="2 samples or more, got 1"):
        read_samples(tmp_path / "named.npz", 1)


def test_labelled_images_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", x=X, y=np.arange(5, dtype=np.uint8))
    images, labels = read_test(tmp_path / "test.npz")
    assert torch.equal(images, torch.from_numpy(X))
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("labels", [np.arange(4), np.zeros(5), np.arange(5) - 1, np.zeros((5, 1), dtype=int)])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", x=X, y=labels)
    with pytest.raises(DataError, match="must have a class from 0 on for each of the 5 images"):
        read_test(tmp_path / "test.npz")


@pytest.mark.data("nips2017-224")
def test_the_packaged_network_knows_the_classes_of_imagenet() -> None:
    settings = METHOD.comparison.settings_for("full", {"network": "efficientnet-lite0", "calibration": 10})
    problem, other = (setup(Job(seed=seed, budget="full", settings=settings)) for seed in (0, 1))
    assert problem.calibration.shape == (10, 3, 224, 224)
    assert problem.test.shape == (711, 3, 224, 224)
    assert sum(parameter.numel() for parameter in problem.network.parameters()) == 4_652_008
    assert accuracy(problem.network, problem.test[:50], problem.labels[:50]) > 0.8
    assert torch.equal(problem.test, other.test)
    assert not torch.equal(problem.calibration, other.calibration)
    assert not (problem.test[:, None, 0, :9, 0] == problem.calibration[:, 0, :9, 0]).all(-1).any()


def test_images_of_the_packaged_network_are_squeezed_and_cropped(tmp_path: Path) -> None:
    opened = open_network("efficientnet-lite0")
    found = opened.preparation.pixels(picture(tmp_path / "wide.png", width=700, height=300))
    assert found.shape == (3, 224, 224)
    assert opened.preparation == IMAGENET
    assert opened.sized().pretrained_cfg["input_size"] == (3, 224, 224)


def test_pictures_of_a_user_are_compared(folder: Path, tmp_path: Path) -> None:
    model = copied(folder, tmp_path / "model")
    (model / PREPARATION_FILE).write_text(
        json.dumps(Preparation(resize=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3).to_dict())
    )
    for place in ("calibration", "test/LABEL_0", "test/LABEL_1", "test/dog"):
        (tmp_path / "own" / place).mkdir(parents=True)
        for number in range(3):
            picture(tmp_path / "own" / place / f"{number}.png", width=9, height=9, seed=number)
    settings = METHOD.comparison.settings_for("full", {"network": str(model), "calibration": 2})
    job = Job(seed=0, budget="full", settings=settings, data=tmp_path / "own")
    with pytest.raises(DataError, match=r"dog is no class of .* as in test/LABEL_0"):
        setup(job)
    (tmp_path / "own" / "test" / "dog").rename(tmp_path / "dog")
    problem = setup(job)
    assert problem.calibration.shape == (2, 3, 8, 8)
    assert problem.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(problem.test[:3], problem.test[3:])


@pytest.mark.data("nips2017-224")
def test_more_calibration_than_there_is_says_how_much_there_is() -> None:
    settings = METHOD.comparison.settings_for("full", {"network": "efficientnet-lite0"})
    with pytest.raises(ConfigError, match="calibration is 256, but there are 200 images for it"):
        setup(Job(seed=0, budget="full", settings=settings))
