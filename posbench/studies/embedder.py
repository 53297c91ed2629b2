"""The embedding model of a study, from its name."""

from typing import Any

import numpy as np

from posbench import rankers
from posbench.errors import UsageError
from posbench.experiment import Settings
from posbench.recipe import RankerRecipe
from posbench.types import Collection, Float32, Progress, no_progress


def build(name: str, recipe: RankerRecipe, settings: Settings, progress: Progress = no_progress) -> Any:
    """A ranker that embeds: it has ``embeddings``.

    Raises:
        UsageError: the ranker does not embed, or a device is not here.
    """
    rankers.check_devices(settings.devices)
    devices = settings.devices or rankers.devices()
    places: dict[str, Any] = {"cache": settings.cache, "devices": devices, "remote_code": settings.remote_code}
    ranker = rankers.build(recipe, depth=1, progress=progress, name=name, **places)
    if not callable(getattr(ranker, "embeddings", None)):
        raise UsageError(f"{name} does not embed texts; expected an embedding model, see `posbench list rankers`")
    return ranker


def vectors(ranker: Any, collection: Collection, name: str) -> tuple[Float32, Float32]:
    """What the ranker searches and asks with: documents float32[n, d] and queries float32[Q, d].

    Raises:
        UsageError: it gives a document several vectors.
    """
    if hasattr(ranker, "documents"):
        docs, bounds = ranker.documents(collection.docs)
        if bounds is not None:
            raise UsageError(
                f"{name} gives a document a vector for each window; expected one a document: choose window average"
            )
    else:
        docs = ranker.embeddings(collection.docs, "document")["vectors"]
    asked = ranker.embeddings(collection.queries, "query")["vectors"]
    return np.ascontiguousarray(docs, np.float32), np.ascontiguousarray(asked, np.float32)
