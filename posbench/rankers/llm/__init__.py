"""Language models that answer prompts: one interface, four engines, one cache of calls."""

from pathlib import Path

from posbench.rankers.llm.calls import Backend
from posbench.reranking import Backend as Recipe


def backend(recipe: Recipe, cache: Path, device: str = "cpu") -> Backend:
    """The backend of a recipe; loads nothing yet.

    Args:
        recipe: of the backend.
        cache: folder of caches, for weights that are unpacked once.
        device: of torch, for a model in this process.
    """
    if recipe.engine == "openai":
        from posbench.rankers.llm.openai import OpenAIBackend

        return OpenAIBackend(recipe, cache)
    if recipe.engine == "instant":
        from posbench.rankers.llm.instant import InstantBackend

        return InstantBackend(recipe, cache)
    if recipe.engine in ("seq2seq", "cross-encoder"):
        from posbench.rankers.llm import encoder

        return (encoder.Seq2SeqBackend if recipe.engine == "seq2seq" else encoder.CrossEncoderBackend)(recipe, device)
    if recipe.engine == "vllm":
        from posbench.rankers.llm.engine import VllmBackend

        return VllmBackend(recipe, cache)
    from posbench.rankers.llm.hf import TransformersBackend

    return TransformersBackend(recipe, cache, device)
