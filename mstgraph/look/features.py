"""Features on a plane: by principal components, or by t-SNE or UMAP where they are installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mstgraph.support.errors import UserError, nearest


def flat(values: np.ndarray, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Put vectors on a plane, [samples, features] → [samples, 2] float.

    Args:
        values: the vectors.
        method: ``pca``, ``tsne`` or ``umap``.
        seed: of the methods that draw.

    Raises:
        UserError: there is no such method, or its library is not installed.
    """
    methods: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
        "pca": lambda given, _: principal(given),
        "tsne": _tsne,
        "umap": _umap,
    }
    if method not in methods:
        raise UserError(f"features cannot be laid out by '{method}'{nearest(method, methods)}")
    return methods[method](values.astype(np.float64), seed)


def principal(values: np.ndarray) -> np.ndarray:
    """Return the first two principal components, [samples, 2] float.

    The sign of each is such that its largest coefficient is positive, so that it is one picture.
    """
    centred = values - values.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.vstack([axes, np.zeros((2, axes.shape[1]))])[:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])
    found: np.ndarray = centred @ (axes * np.where(signs, signs, 1.0)[:, None]).T
    return found


def _tsne(values: np.ndarray, seed: int) -> np.ndarray:
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise _missing("t-SNE needs scikit-learn", error) from error
    perplexity = min(30.0, max(1.0, (len(values) - 1) / 3))
    found: np.ndarray = TSNE(perplexity=perplexity, random_state=seed).fit_transform(values)
    return found


def _umap(values: np.ndarray, seed: int) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError as error:
        raise _missing("UMAP needs umap-learn", error) from error
    found: np.ndarray = UMAP(random_state=seed, n_jobs=1).fit_transform(values)
    return found


def _missing(what: str, error: ImportError) -> UserError:
    return UserError(f"{what} ({error}); install it with: pip install 'mstgraph[embeddings]'")
