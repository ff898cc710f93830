"""The recipe of CrisisMMD, on tiny files in the true formats, and its gin files."""

from __future__ import annotations

import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from graph_files import run, teachers

from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError

N = 24
HEAD = ("event_name", "tweet_id", "image_id", "tweet_text", "image", "label", "label_text")


@pytest.fixture(scope="module")
def crisismmd(load_file):
    """Return the recipe's module."""
    return load_file("crisismmd")


@pytest.fixture
def triple():
    """Return features and labels."""
    rng = np.random.default_rng(0)
    image, text = rng.random((N, 2048), np.float32), rng.normal(size=(N, 768))
    return image, text.astype(np.float32), (np.arange(N) % 8).astype(np.int32)


def refusal(act):
    """Return the one sentence with which something is refused."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_the_file_of_features(crisismmd, triple, tmp_path, kind):
    """A triple of arrays or tensors becomes a store, value by value."""
    saved = triple if kind == "arrays" else tuple(map(torch.from_numpy, triple))
    torch.save(saved, tmp_path / "CMMD_data.pth")
    for raw in (tmp_path, tmp_path / "CMMD_data.pth"):
        recipe = crisismmd.CrisisMMD(raw=raw)
        assert len(recipe) == N
        assert recipe.raw_files() == (tmp_path / "CMMD_data.pth",)
        assert recipe.official_splits() == {}
    store = build(recipe, tmp_path / "store")
    everything = np.arange(N)
    np.testing.assert_array_equal(store.read("image", everything), triple[0])
    np.testing.assert_array_equal(store.read("text", everything), triple[1])
    np.testing.assert_array_equal(store.read_labels(everything), triple[2])
    assert store.labels_spec.classes[5] == "rescue_volunteering_or_donation_effort"


class Planted:
    """What a hostile file would hold: an object whose unpickling runs a function."""

    def __reduce__(self):
        return print, ("planted code ran",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda i, t, y: (i[:, :9], t, y),
            "image features in {} are 24×9 float32; expected 24×2048",
        ),
        (lambda i, t, y: (i, t[:7], y), "text features in {} are 7×768 float32; expected 24×768"),
        (lambda i, t, y: (i, t.astype(int), y), "are 24×768 int64"),
        (lambda i, t, y: (i, t, y + 1), "labels in {} must be N integers from 0 to 7"),
        (lambda i, t, y: (i, t, y / 2), "labels in {} must be N integers from 0 to 7"),
        (lambda i, t, y: (i, t), "{} holds no triple of image, text and labels"),
        (lambda i, t, y: 5, "{} holds no triple of image, text and labels"),
        (
            lambda i, t, y: Planted(),
            "arrays or tensors that torch saved: it holds objects of",
        ),
    ],
)
def test_wrong_features_are_refused(crisismmd, triple, tmp_path, capsys, change, message):
    """Other shapes, types and labels are refused; code in the file does not run."""
    path = tmp_path / "CMMD_data.pth"
    torch.save(change(*triple), path)
    found = refusal(lambda: len(crisismmd.CrisisMMD(raw=path)))
    assert message.format(path) in found
    assert "planted" not in capsys.readouterr().out


def test_missing_data_is_refused(crisismmd, tmp_path):
    """Without data the message tells what is expected and where it is to be had."""
    (tmp_path / "CMMD_data.pth").write_bytes(b"something else")
    assert "cannot be read" in refusal(lambda: len(crisismmd.CrisisMMD(raw=tmp_path)))
    (tmp_path / "CMMD_data.pth").unlink()
    message = refusal(lambda: len(crisismmd.CrisisMMD(raw=tmp_path)))
    assert "has no crisismmd_datasplit_all/task_humanitarian*.tsv" in message
    assert "name with --raw" in refusal(lambda: len(crisismmd.CrisisMMD()))
    assert "does not exist" in refusal(lambda: len(crisismmd.CrisisMMD(raw=tmp_path / "none")))


def write_table(path, rows):
    """Write a table as the authors do: tab-separated, the columns of HEAD."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in (HEAD, *rows)), encoding="utf-8")


def row(tweet, label, text="hello", image="a.jpg"):
    """Return a row of a table."""
    return ("flood", tweet, f"{tweet}_0", text, f"data_image/{image}", label, "other")


@pytest.fixture
def raw(tmp_path):
    """Return a folder of three tables; tweet 12 has two rows, the later one with another label."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "crisismmd_datasplit_all"
    name = "task_humanitarian_text_img_{}.tsv"
    train = [row("11", "vehicle_damage"), row("12", "not_humanitarian", image="b.jpg")]
    write_table(folder / name.format("train"), train)
    dev = [row("12", "missing_or_found_people"), row("13", "not_humanitarian", "café \\u2026")]
    write_table(folder / name.format("dev"), dev)
    write_table(folder / name.format("test"), [row("14", "other_relevant_information")])
    write_table(folder / "task_informative_text_img_train.tsv", [row("99", "informative")])
    (tmp_path / "data_image").mkdir()
    for letter, colour in (("a", (255, 0, 0)), ("b", (0, 255, 0))):
        picture = image.new("RGB", (40, 20), colour)
        picture.save(tmp_path / "data_image" / f"{letter}.jpg", quality=95)
    return tmp_path


@pytest.fixture
def extractors(monkeypatch):
    """Return options that name two functions: the image's mean colour, the text's code points."""
    module = types.ModuleType("my_extractors")
    module.image = lambda picture: np.resize(np.asarray(picture).mean((0, 1)), 2048)
    module.text = lambda text: np.resize([ord(letter) for letter in text], 768)
    module.narrow = lambda given: np.zeros(9)
    module.number = 5
    monkeypatch.setitem(sys.modules, "my_extractors", module)
    return {"image_extractor": "my_extractors:image", "text_extractor": "my_extractors:text"}


def test_the_first_row_of_a_tweet_counts(crisismmd, raw):
    """Tables are joined in the order of their names; the split is that of the counting rows."""
    recipe = crisismmd.CrisisMMD(raw=raw)
    assert [recipe.identifier(index) for index in range(len(recipe))] == ["12", "13", "14", "11"]
    assert recipe._tweets.targets == [4, 0, 7, 6]
    expected = {"train": [3], "validation": [0, 1], "test": [2]}
    assert recipe.official_splits() == {"official": expected}
    names = [path.name for path in recipe.raw_files()]
    assert len([name for name in names if name.endswith(".tsv")]) == 3
    assert "a.jpg" in names


def test_extractors_of_the_users(crisismmd, raw, extractors):
    """Options name functions that see the RGB picture and the cleaned text."""
    for module in ("ftfy", "emoji", "nltk"):
        pytest.importorskip(module)
    recipe = load_recipe(Path(crisismmd.__file__), raw, extractors)
    sample = recipe.sample(1)
    np.testing.assert_allclose(sample["image"][:3], (255, 0, 0), atol=3)
    letters = "".join(map(chr, sample["text"][:8].astype(int)))
    assert letters == "café ..."
    assert sample["label"] == 0


def test_an_item_is_read_as_a_tweet_is(crisismmd, raw, extractors, tmp_path, monkeypatch):
    """A picture; a text on a line or in a file. No raw data is needed then."""
    monkeypatch.setattr(crisismmd, "cleaned", str.upper)
    recipe, bare = crisismmd.CrisisMMD(raw=raw, **extractors), crisismmd.CrisisMMD(**extractors)
    image, text = bare.modalities()
    tweet, sample = recipe._tweets._rows[0], recipe.sample(0)
    np.testing.assert_array_equal(bare.item(image, raw / tweet["image"]), sample["image"])
    np.testing.assert_array_equal(bare.item(text, tweet["tweet_text"]), sample["text"])
    (tmp_path / "tweet.txt").write_text(tweet["tweet_text"], encoding="utf-8")
    np.testing.assert_array_equal(bare.item(text, tmp_path / "tweet.txt"), sample["text"])


def test_wrong_extractors_are_refused(crisismmd, raw, extractors):
    """A name that names nothing, and a vector of another size, are refused."""

    def told(name):
        recipe = crisismmd.CrisisMMD(raw=raw, image_extractor=name)
        return refusal(lambda: recipe.sample(0))

    assert "'image_extractor' is 'image'; expected module:function" in told("image")
    assert "module 'no_module', which cannot be imported" in told("no_module:image")
    assert "no function 'imag'; did you mean 'image'?" in told("my_extractors:imag")
    assert "no function 'number'" in told("my_extractors:number")
    assert "the image extractor gives 9 for tweet 12; expected 2048" in told("my_extractors:narrow")


def test_broken_images_are_refused(crisismmd, raw, extractors):
    """A missing or damaged image is named."""
    recipe = crisismmd.CrisisMMD(raw=raw, **extractors)
    (raw / "data_image" / "a.jpg").write_bytes(b"nothing")
    assert "a.jpg cannot be read" in refusal(lambda: recipe.sample(1))
    (raw / "data_image" / "a.jpg").unlink()
    assert "a.jpg cannot be read" in refusal(lambda: recipe.sample(1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tweet_id\ttweet_text\timage\tlabels\n", "no column 'label'; did you mean 'labels'?"),
        ("tweet_id\ttweet_text\timage\tlabel\n1\thi\ta.jpg\n", "line 2 of"),
        ("tweet_id\ttweet_text\timage\tlabel\n1\thi\ta.jpg\tfire\textra\n", "line 2 of"),
        ("tweet_id\ttweet_text\timage\tlabel\n1\thi\ta.jpg\tvehicle\n", "did you mean 'vehicle_"),
    ],
)
def test_wrong_tables_are_refused(crisismmd, tmp_path, text, message):
    """A missing column, a row of another length and an unknown label: table and line are named."""
    path = tmp_path / "crisismmd_datasplit_all" / "task_humanitarian_text_img_test.tsv"
    path.parent.mkdir()
    path.write_text(text)
    found = refusal(lambda: len(crisismmd.CrisisMMD(raw=tmp_path)))
    assert message in found
    assert str(path) in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RT @anna: help 😢", "RT @USER : help :crying_face:"),
        ("see https://t.co/Ab1 or http://t.co/Ab1", "see or"),
        ("https://a.org/x and www.b.org", "HTTPURL and HTTPURL"),
        ("café \\u2026 \\U0001F62D é", "café ... :loudly_crying_face: é"),
        ("\\ud83d\\ude2d", ":loudly_crying_face:"),
        ("It’s “bad”… 👍🏽", 'It \'s " bad " ... :thumbs_up_medium_skin_tone:'),
        ("I don't, can't, cannot", "I do n't , can't , can not"),
        ("we'll they've I'm", "we 'll they 've I 'm"),
        ("at 5 p.m. or 3 a.m", "at 5 p.m. or 3 a.m"),
        ("cafÃ©", "café"),
    ],
)
def test_tweets_are_cleaned(crisismmd, text, expected):
    """User names, links, emoji, quotes, contractions and times, as BERTweet expects them."""
    for module in ("ftfy", "emoji", "nltk"):
        pytest.importorskip(module)
    assert crisismmd.cleaned(text) == expected


class Tiny(torch.nn.Module):
    """A stand-in for ResNet-50: the mean of each channel, then a classifier to be left out."""

    def __init__(self, weights=None):
        super().__init__()
        self.asked = weights
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.fc = torch.nn.Linear(3, 5)

    def forward(self, x):
        """Return [batch, 2048] unless the classifier is still there."""
        assert x.shape == (1, 3, 224, 224)
        means = x.mean((2, 3)) * self.scale
        return self.fc(means).repeat(1, 683)[:, :2048]


def test_images_are_normalised_as_for_imagenet(crisismmd, raw, monkeypatch, tmp_path):
    """Stretched to 224×224, RGB, with weights of torchvision or of a file."""
    built = []
    models = types.ModuleType("torchvision.models")
    models.resnet50 = lambda weights: built.append(Tiny(weights)) or built[-1]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    red = (np.array((1, 0, 0)) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = crisismmd.CrisisMMD(raw=raw)._tweets.read("image", 1)
    np.testing.assert_allclose(found[:3], red, atol=0.06)
    assert built[0].asked == "IMAGENET1K_V1"
    state = Tiny().state_dict() | {"scale": torch.full((1,), 2.0)}
    torch.save(state, tmp_path / "weights.pth")
    recipe = crisismmd.CrisisMMD(raw=raw, image_weights=tmp_path / "weights.pth")
    np.testing.assert_allclose(recipe._tweets.read("image", 1), 2 * found, rtol=1e-5)
    assert built[1].asked is None
    assert tmp_path / "weights.pth" in recipe.raw_files()
    torch.save({"other": torch.ones(1)}, tmp_path / "weights.pth")
    recipe = crisismmd.CrisisMMD(raw=raw, image_weights=tmp_path / "weights.pth")
    assert "weights of resnet50 cannot be had" in refusal(lambda: recipe.sample(0))


def test_texts_are_pooled_by_a_model_of_transformers(crisismmd, tmp_path):
    """A folder with a model and its tokenizer; long texts are cut to 128 tokens."""
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "flood", "help"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(tmp_path / "model")
    shape = {"num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 128}
    config = transformers.BertConfig(vocab_size=len(words), **shape)
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path / "model")
    read = crisismmd.TextModel(str(tmp_path / "model"))
    tokens = tokenizer("flood help", return_tensors="pt")
    expected = model(**tokens).pooler_output[0].detach().numpy()
    np.testing.assert_allclose(read("flood help"), expected, atol=1e-5)
    assert read("flood " * 500).shape == (768,)
    message = refusal(lambda: crisismmd.TextModel(str(tmp_path / "none")))
    assert "of the option text_model cannot be had" in message


@pytest.mark.parametrize(
    ("name", "part", "told"),
    [
        ("torchvision.models", "image", "needs torchvision: pip install torchvision"),
        ("transformers", "model", "needs transformers: pip install 'mstgraph[text]'"),
        ("ftfy", "text", "needs ftfy: pip install 'mstgraph[text]'"),
    ],
)
def test_missing_packages_are_named(crisismmd, raw, monkeypatch, name, part, told):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    tweets = crisismmd.CrisisMMD(raw=raw)._tweets
    acts = {"model": lambda: crisismmd.TextModel("any")}
    act = acts.get(part, lambda: tweets.read(part, 0))
    assert told in refusal(act)


@pytest.mark.parametrize(
    ("student", "other", "index"), [("image", "text", 2), ("text", "image", 1)]
)
def test_gin_files_derive_four_teachers(triple, tmp_path, student, other, index):
    """Two of the fused member at the paper's mask points, two of the other modality."""
    torch.save(triple, tmp_path / "CMMD_data.pth")
    found = teachers(f"crisismmd_{student}.gin", tmp_path)
    pairs = [(0, "fused"), (index, other)]
    assert found == [(*pair, point) for pair in pairs for point in ("hidden1", "hidden2")]


def test_a_short_run_reaches_its_summary(triple, tmp_path):
    """The whole graph trains on true-format features, two batches an epoch."""
    torch.save(triple, tmp_path / "CMMD_data.pth")
    narrow = ["MLP.hidden = (16, 8)", "FusedMLP.branch = (16,)", "FusedMLP.hidden = (16, 8)"]
    bindings = ["data.batch_size = 7", "MaskNet.factor = 1", *narrow]
    summary = run("crisismmd_text.gin", tmp_path, tmp_path / "out", *bindings)
    assert set(summary["students"]) == {"text"}
    assert len(summary["routing"]["text"]) == 4


def test_files_written_with_numpy_1(crisismmd, triple, tmp_path):
    """The module that rebuilds an array had another name then; such a file is read all the same."""
    torch.save(triple, tmp_path / "new.pth")
    path = tmp_path / "CMMD_data.pth"
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(path, "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            old.writestr(name, content)
    recipe = crisismmd.CrisisMMD(raw=path)
    np.testing.assert_array_equal(recipe.sample(5)["image"], triple[0][5])


def test_options_without_effect_are_refused(crisismmd, triple, tmp_path):
    """What is asked of tweets is not silently left undone on features."""
    torch.save(triple, tmp_path / "CMMD_data.pth")
    recipe = crisismmd.CrisisMMD(raw=tmp_path, text_model="mine")
    assert "option 'text_model' of CrisisMMD v2.0 has no effect" in refusal(lambda: len(recipe))
