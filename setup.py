"""Installation. Packages are named one by one: gin/ and datasets/ are folders, not packages."""

from pathlib import Path

from setuptools import find_packages, setup

VERSION = next(
    line.split('"')[1]
    for line in Path(__file__)
    .with_name("mstgraph")
    .joinpath("__init__.py")
    .read_text()
    .splitlines()
    if line.startswith("__version__")
)
RAW = ["h5py>=3.8", "Pillow>=10"]
PICTURES = ["matplotlib>=3.8"]
RAY = ["ray>=2.30"]
# Raw files of single data sets; weights and torchvision are the user's own, see each recipe.
AUDIO = ["librosa>=0.10", "soundfile>=0.12"]
VIDEO = ["av>=12"]
TEXT = ["transformers>=4.40", "ftfy>=6", "emoji>=2", "nltk>=3.8"]

setup(
    name="mstgraph",
    version=VERSION,
    description="Cross-modal knowledge distillation, declared as a graph",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["mstgraph", "mstgraph.*"]),
    package_data={"mstgraph": ["py.typed"]},
    install_requires=[
        "torch>=2.4,<=2.13.0",
        "gin-config>=0.5,<0.6",
        "networkx>=3.2",
        "lmdb>=1.4",
        "click>=8.1",
        "numpy>=1.26",
        "rich>=13.7",
        "safetensors>=0.4.3",
        "scipy>=1.10",
        "tensorboardX>=2.6.2",
    ],
    extras_require={
        "ray": RAY,
        "raw": RAW,
        "pictures": PICTURES,
        "audio": AUDIO,
        "video": VIDEO,
        "text": TEXT,
        "test": [
            *RAW,
            *PICTURES,
            "pytest>=8",
            "hypothesis>=6",
            "scikit-learn>=1.4",
            "torchmetrics>=1.3",
            "nbformat>=5.1",
            "ruff",
            "mypy",
        ],
    },
    entry_points={"console_scripts": ["mstgraph=mstgraph.cli:main"]},
)
