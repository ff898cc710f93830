"""CrisisMMD v2.0: 16,058 tweets of seven disasters, an image and a text each, eight classes.

Source: F. Alam, F. Ofli and M. Imran, "CrisisMMD: Multimodal Twitter Datasets from Natural
Disasters", ICWSM 2018; F. Ofli, F. Alam and M. Imran, "Analysis of Social Media Data using
Multimodal Deep Learning for Disaster Response", ISCRAM 2020; https://crisisnlp.qcri.org/crisismmd
Licence: CC BY-NC-SA 4.0 for the annotations, Twitter's terms for the tweets. None of it comes with
this package.

Layouts that ``raw`` may point to, told apart by looking:

1. the preprocessed features (180 MB): ``CMMD_data.pth``, or a folder that holds it; one triple
   (image N×2048, text N×768, labels N) of arrays or tensors, as torch saves it. It is read without
   running any code that it may contain;
2. the folder ``CrisisMMD_v2.0`` (1.8 GB): ``crisismmd_datasplit_all/task_humanitarian*.tsv`` with
   the columns tweet_id, tweet_text, image and label (text and image judged together), and
   ``data_image/``. All files are joined in the order of their names; the first row of a tweet
   counts. The split ``official`` is the authors' (train, dev, test), for these tweets.

What layout 2 does, after the paper: an image is stretched to 224×224, normalised as for ImageNet
and averaged by a ResNet-50 to 2048 features; a text is cleaned (`cleaned`) and read by BERTweet, at
most 128 tokens, to the 768 features of its pooler. This needs the packages
pip install 'mstgraph[text]' torchvision, and weights: torchvision's and transformers' own caches
are used, or the files that the options name. The options ``image_extractor`` and
``text_extractor`` put functions of your own in their place.

Stored: ``image`` (2048) and ``text`` (768), float32, unscaled.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mstgraph.recipes import images, tables
from mstgraph.recipes import raw as raw_data
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError, nearest

CLASSES = (
    "not_humanitarian",
    "affected_individuals",
    "infrastructure_and_utility_damage",
    "injured_or_dead_people",
    "missing_or_found_people",
    "rescue_volunteering_or_donation_effort",
    "vehicle_damage",
    "other_relevant_information",
)
WIDTHS = {"image": 2048, "text": 768}
EXTRA = "mstgraph[text]"


@dataclass
class CrisisMMD(Recipe):
    """Tweets, by image and text; see the head of the file.

    Attributes:
        raw: the file of features, or the folder of the raw data.
        image_weights: a state dict of torchvision's ResNet-50; None takes torchvision's own.
        text_model: a model of transformers, by name or by folder.
        image_extractor: ``module:function`` from a PIL image (RGB) to [2048], in place of the
            ResNet-50.
        text_extractor: ``module:function`` from a cleaned text to [768], in place of BERTweet.
    """

    title: ClassVar[str] = "CrisisMMD v2.0"
    source: ClassVar[str] = "https://crisisnlp.qcri.org/crisismmd (Alam et al., ICWSM 2018)"
    licence: ClassVar[str] = "CC BY-NC-SA 4.0; the tweets: Twitter's terms"
    requires: ClassVar[str] = (
        "the data of CrisisMMD is needed: name with --raw the file CMMD_data.pth of features or "
        "the folder CrisisMMD_v2.0 from https://crisisnlp.qcri.org/crisismmd"
    )

    raw: Path | None = None
    image_weights: Path | None = None
    text_model: str = "vinai/bertweet-base"
    image_extractor: str | None = None
    text_extractor: str | None = None

    @cached_property
    def _tweets(self) -> _Tweets:
        path = raw_data.existing(self.raw, self.requires)
        features = path / "CMMD_data.pth" if path.is_dir() else path
        if not features.exists():
            return _RawTweets(path, self)
        options = ("image_weights", "text_model", "image_extractor", "text_extractor")
        raw_data.refuse_options(self, options, "preprocessed features")
        return _Features(features)

    def modalities(self) -> tuple[Modality, ...]:
        """Return ``image`` and ``text``, vectors."""
        return tuple(Modality(name, "float32", (width,)) for name, width in WIDTHS.items())

    def labels(self) -> Labels:
        """Return the humanitarian category."""
        return Labels("classification", CLASSES)

    def __len__(self) -> int:
        """Return the number of tweets."""
        return len(self._tweets.targets)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return tweet ``index``.

        Raises:
            UserError: its image cannot be read, or an extractor is missing or gives other features.
        """
        vectors = {name: self._tweets.read(name, index) for name in WIDTHS}
        return {**vectors, "label": np.asarray(self._tweets.targets[index])}

    def item(self, modality: Modality, raw: Path | str) -> np.ndarray:
        """Return the features of a picture, or of a tweet's text, a file or a line, as stored."""
        if modality.name == "image":
            return self._extractors.image(images.colour(Path(raw)), str(raw))
        if isinstance(raw, Path):
            raw = " ".join(tables.lines(raw))
        return self._extractors.text(raw, f"'{raw[:40]}'")

    @cached_property
    def _extractors(self) -> _Extractors:
        return _Extractors(self)

    def identifier(self, index: int) -> str:
        """Return the tweet's id where the raw data tells it, else its number, from 0."""
        return self._tweets.identifier(index)

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return the authors' split as ``official``, where the raw data tells it."""
        parts = self._tweets.split()
        return {"official": parts} if parts else {}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the file of features, or all tables, images and weights."""
        return self._tweets.files()


class _Tweets(ABC):
    """The tweets of one raw layout."""

    targets: Sequence[int] | np.ndarray

    @abstractmethod
    def read(self, name: str, index: int) -> np.ndarray: ...

    @abstractmethod
    def identifier(self, index: int) -> str: ...

    @abstractmethod
    def split(self) -> dict[str, list[int]]: ...

    @abstractmethod
    def files(self) -> tuple[Path, ...]: ...


class _Features(_Tweets):
    """The file of features."""

    def __init__(self, path: Path) -> None:
        self._path = path
        triple = _load(path)
        try:
            image, text, label = (np.asarray(part) for part in triple)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} holds no triple of image, text and labels") from error
        count = len(label) if label.ndim else 0
        self._vectors = {"image": image, "text": text}
        for name, values in self._vectors.items():
            if values.shape != (count, WIDTHS[name]) or values.dtype.kind != "f":
                raise UserError(
                    f"the {name} features in {path} are {_by(values.shape)} {values.dtype}; "
                    f"expected {count}×{WIDTHS[name]} of a floating type, for {count} labels"
                )
        if label.ndim != 1 or label.dtype.kind not in "iu" or not np.isin(label, range(8)).all():
            raise UserError(f"the labels in {path} must be N integers from 0 to 7")
        self.targets = label.astype(np.int64)

    def read(self, name: str, index: int) -> np.ndarray:
        return self._vectors[name][index].astype(np.float32)

    def identifier(self, index: int) -> str:
        return str(index)

    def split(self) -> dict[str, list[int]]:
        return {}

    def files(self) -> tuple[Path, ...]:
        return (self._path,)


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _load(path: Path) -> Any:
    """Read what torch saved, arrays and tensors alone."""
    import torch

    rebuild = np.empty(0).__reduce__()[0]  # its module has another name in numpy 1 and 2
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    kinds = [np.dtype(kind) for kind in ("f2", "f4", "f8", "i4", "i8")]
    encode: Any = __import__("_codecs").encode  # carries the bytes of an array
    allowed: list[Any] = [(rebuild, name) for name in names]
    allowed += [np.ndarray, np.dtype, encode, *(type(kind) for kind in kinds)]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of another kind makes the unpickler raise almost anything
        raise UserError(
            f"{path} cannot be read as a triple of arrays or tensors that torch saved: "
            f"{_cause(error)}"
        ) from error


def _cause(error: Exception) -> str:
    """Return what torch says, without the advice to run code that the file brings along."""
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused:
        return f"it holds objects of {refused[1]}, which only code could make"
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


class _RawTweets(_Tweets):
    """Tables and images."""

    def __init__(self, path: Path, recipe: CrisisMMD) -> None:
        self._path, self._recipe = path, recipe
        self._tables = sorted((path / "crisismmd_datasplit_all").glob("task_humanitarian*.tsv"))
        if not self._tables:
            raise UserError(
                f"{path} has no crisismmd_datasplit_all/task_humanitarian*.tsv and no "
                f"CMMD_data.pth; {recipe.requires}"
            )
        first: dict[str, dict[str, str]] = {}
        for table in self._tables:
            for row in _rows(table):
                first.setdefault(row["tweet_id"], row)
        self._rows = list(first.values())
        self.targets = [CLASSES.index(row["label"]) for row in self._rows]

    def read(self, name: str, index: int) -> np.ndarray:
        row = self._rows[index]
        where = f"tweet {row['tweet_id']}"
        if name == "image":
            picture = images.colour(self._path / row["image"])
            return self._recipe._extractors.image(picture, where)
        return self._recipe._extractors.text(row["tweet_text"], where)

    def identifier(self, index: int) -> str:
        return self._rows[index]["tweet_id"]

    def split(self) -> dict[str, list[int]]:
        parts: dict[str, list[int]] = {}
        for index, row in enumerate(self._rows):
            parts.setdefault(row["part"], []).append(index)
        known = {"train": "train", "dev": "validation", "test": "test"}
        if parts.keys() != known.keys():
            return {}
        return {known[part]: ids for part, ids in parts.items()}

    def files(self) -> tuple[Path, ...]:
        pictures = sorted({self._path / row["image"] for row in self._rows})
        weights = self._recipe.image_weights
        return (*self._tables, *pictures, *([Path(weights)] if weights else []))


class _Extractors:
    """What makes features of a picture, and of a text."""

    def __init__(self, recipe: CrisisMMD) -> None:
        self._recipe = recipe

    def image(self, picture: Any, where: str) -> np.ndarray:
        """Return [2048] float32 of a PIL image."""
        return _checked("image", self._image_features(picture), where)

    def text(self, text: str, where: str) -> np.ndarray:
        """Return [768] float32 of a tweet as it was written."""
        prepared = cleaned(text)
        return _checked("text", self._text_features(prepared), where)

    @cached_property
    def _image_features(self) -> Callable[[Any], np.ndarray]:
        named = self._recipe.image_extractor
        if named is not None:
            return raw_data.function(named, "image_extractor")
        return ResNet50(self._recipe.image_weights)

    @cached_property
    def _text_features(self) -> Callable[[str], np.ndarray]:
        named = self._recipe.text_extractor
        if named is not None:
            return raw_data.function(named, "text_extractor")
        return TextModel(self._recipe.text_model)


def _checked(name: str, given: Any, where: str) -> np.ndarray:
    vector = np.asarray(given)
    if vector.shape != (WIDTHS[name],):
        raise UserError(
            f"the {name} extractor gives {_by(vector.shape) or 'a number'} for {where}; "
            f"expected {WIDTHS[name]} features"
        )
    return vector.astype(np.float32)


COLUMNS = ("tweet_id", "tweet_text", "image", "label")


def _rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table, checked, each with the ``part`` that the file's name tells."""
    part = table.stem.rpartition("_")[2]
    rows = []
    for line, row in tables.table(table, COLUMNS, delimiter="\t"):
        label = row["label"]
        if label not in CLASSES:
            raise UserError(
                f"line {line} of {table} has the label '{label}'{nearest(label, CLASSES)}"
            )
        rows.append({**{name: row[name] for name in COLUMNS}, "part": part})
    return rows


class ResNet50:
    """The average of a ResNet-50's last maps (He et al. 2016), [2048], of a PIL image.

    Args:
        weights: a state dict of torchvision's ResNet-50; None takes torchvision's own.

    Raises:
        UserError: torchvision or the weights cannot be had.
    """

    def __init__(self, weights: Path | None) -> None:
        from torch import nn

        from mstgraph.recipes import imagenet

        self._batch = imagenet.batch
        options = ("image_weights", "image_extractor")
        self._network = imagenet.network("resnet50", weights, options)
        self._network.fc = nn.Identity()

    def __call__(self, picture: Any) -> np.ndarray:
        """Return [2048] float32."""
        import torch

        image = raw_data.extra("PIL.Image", "mstgraph[raw]")
        pixels = np.asarray(picture.resize((224, 224), image.Resampling.BILINEAR))
        with torch.inference_mode():
            return self._network(self._batch(pixels[None]))[0].numpy()


class TextModel:
    """The pooler's output of a model of transformers, [768], of a cleaned text.

    Args:
        name: the model, by name (then from transformers' cache, or fetched) or by folder.

    Raises:
        UserError: transformers or the model cannot be had.
    """

    def __init__(self, name: str) -> None:
        transformers = raw_data.extra("transformers", EXTRA)
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            self._model = transformers.AutoModel.from_pretrained(name).eval()
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise UserError(
                f"the model '{name}' of the option text_model cannot be had; name a folder that "
                "holds it, or a function with text_extractor"
            ) from error

    def __call__(self, text: str) -> np.ndarray:
        """Return [768] float32."""
        import torch

        tokens = self._tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        with torch.inference_mode():
            return self._model(**tokens).pooler_output[0].numpy()


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})")
_SHORTENED = re.compile(r"https?://t\.co/", re.IGNORECASE)
_LINK = re.compile(r"https?:|www\.", re.IGNORECASE)
_CONTRACTION = re.compile(r"\b(\w+?)(n't|'(?:m|re|s|ll|d|ve))(?=\s|$)", re.IGNORECASE)
_DAYTIME = re.compile(r"\b([ap]) \. m(?: (\.))?(?=\s|$)", re.IGNORECASE)
_WHOLE = ("can't", "ain't")  # BERTweet knows these as one word


def cleaned(text: str) -> str:
    r"""Return a tweet as BERTweet was trained to read it (Nguyen et al., EMNLP 2020).

    Encoding mistakes are mended; ``\u2026`` and ``\U0001F62D`` become the characters that they
    name, and no other character changes into an escape; user names become @USER, t.co links go,
    other links become HTTPURL, emoji become their names, curly quotes and ellipses ASCII;
    contractions are split and a.m. and p.m. rejoined.

    Raises:
        UserError: ftfy, emoji or nltk is missing.
    """
    ftfy, emoji = raw_data.extra("ftfy", EXTRA), raw_data.extra("emoji", EXTRA)
    tokenizer = raw_data.extra("nltk.tokenize", EXTRA).TweetTokenizer()
    text = ftfy.fix_text(_unescaped(text)).replace("…", "...")
    # Tokens first: the tokenizer would take the name of an emoji apart.
    tokens = [_token(token, emoji.demojize) for token in tokenizer.tokenize(text)]
    joined = " ".join(filter(None, tokens))
    joined = re.sub(r"\b(can)(not)\b", r"\1 \2", joined, flags=re.IGNORECASE)
    joined = _CONTRACTION.sub(_split, joined)
    return _DAYTIME.sub(lambda found: f"{found[1]}.m{found[2] or ''}", joined)


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        code = int(found[1] or found[2], 16)
        return chr(code) if code <= 0x10FFFF else found[0]

    text = _ESCAPE.sub(character, text)
    # Two escapes may have made the halves of one character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def _token(token: str, demojize: Callable[[str], str]) -> str:
    if token.startswith("@") and len(token) > 1:
        return "@USER"
    if _SHORTENED.match(token):
        return ""
    return "HTTPURL" if _LINK.match(token) else demojize(token)


def _split(found: re.Match[str]) -> str:
    return found[0] if found[0].lower() in _WHOLE else f"{found[1]} {found[2]}"
