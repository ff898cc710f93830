"""Installation. Packages are named one by one: gin/ and datasets/ are folders, not packages."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (ROOT / "mstgraph" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)
RAW = ["h5py>=3.8", "Pillow>=10"]
PICTURES = ["matplotlib>=3.8"]
RAY = ["ray>=2.30"]
TUNE = ["optuna>=5.0"]
REPORT = [*PICTURES, "jinja2>=3.1", "vl-convert-python>=1.8"]
EMBEDDINGS = ["scikit-learn>=1.4", "umap-learn>=0.5.6"]
TRACKERS = ["mlflow>=2.16"]
# Raw files of single data sets; weights and torchvision are the user's own, see each recipe.
AUDIO = ["librosa>=0.10", "soundfile>=0.12"]
VIDEO = ["av>=12"]
TABLES = ["pyarrow>=15"]
DOCS = ["mkdocs-material>=9.5", "mkdocstrings-python>=1.10"]
TEXT = ["transformers>=4.40", "ftfy>=6", "emoji>=2", "nltk>=3.8"]
# Networks by name; torchvision, which timm needs, is built for one version of torch.
TORCHVISION = ["torchvision>=0.19"]
TIMM = ["timm>=1.0.9", *TORCHVISION]
HUGGING_FACE = ["transformers>=4.40"]
# Formats of `mstgraph export`, each under its own name; torch.export needs nothing beside torch.
ONNX = ["onnx>=1.16", "onnxruntime>=1.20", "onnxscript>=0.5"]
OPENVINO = ["openvino>=2025.1", "nncf>=2.17"]
EXECUTORCH = ["executorch>=1.0", "torchao>=0.14"]


class BuildWithShipped(build_py):
    """Puts gin/ and datasets/ into the package; an editable install has them beside it."""

    def run(self) -> None:
        """Build."""
        if self.editable_mode:
            super().run()
            return
        package = Path(self.build_lib, "mstgraph")
        shutil.rmtree(package, ignore_errors=True)  # what an earlier build left
        super().run()
        for folder in ("gin", "datasets"):
            shutil.copytree(
                ROOT / folder,
                package / "shipped" / folder,
                ignore=shutil.ignore_patterns("__pycache__"),
            )


setup(
    name="mstgraph",
    version=VERSION,
    description="Cross-modal knowledge distillation, declared as a graph",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["mstgraph", "mstgraph.*"]),
    package_data={"mstgraph": ["py.typed", "__init__.pyi", "page/template/*"]},
    cmdclass={"build_py": BuildWithShipped},
    install_requires=[
        "torch>=2.4",
        "gin-config>=0.5,<0.6",  # gin's own parser is driven here, statement by statement
        "networkx>=3.2",
        "lmdb>=1.4",
        "click>=8.1",
        "filelock>=4.1",
        "numpy>=1.26",
        "rich>=13.7",
        "safetensors>=0.4.3",
        "scipy>=1.12",
        "tensorboardX>=2.6.2.2",
    ],
    extras_require={
        "ray": RAY,
        "tune": TUNE,
        "raw": RAW,
        "pictures": PICTURES,
        "report": REPORT,
        "embeddings": EMBEDDINGS,
        "mlflow": TRACKERS,
        "browser": ["selenium>=4.20"],  # tests the page where chromium is
        "audio": AUDIO,
        "video": VIDEO,
        "text": TEXT,
        "timm": TIMM,
        "torchvision": TORCHVISION,
        "huggingface": HUGGING_FACE,
        "onnx": ONNX,
        "openvino": OPENVINO,
        "executorch": EXECUTORCH,
        "tables": TABLES,
        "docs": DOCS,
        "test": [
            *RAW,
            *REPORT,
            *HUGGING_FACE,
            *ONNX,
            *DOCS,
            *TUNE,
            "click>=8.2",  # its test runner tells standard error apart
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6",
            "scikit-learn>=1.4",
            "torchmetrics>=1.3",
            "import-linter>=2.17; python_version >= '3.11'",
            "setuptools>=70.1",  # builds the wheel without the wheel package
            "nbformat>=5.1",
            "ruff",
            "mypy",
        ],
    },
    entry_points={"console_scripts": ["mstgraph=mstgraph.cli:main"]},
)
