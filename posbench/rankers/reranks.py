"""What ``--rerank`` says: a reranker's recipe, changed as asked, behind a first stage's."""

import json
from pathlib import Path
from typing import Any

import msgspec

from posbench.errors import UsageError
from posbench.listwise import ListwiseRecipe
from posbench.rankers import resolve
from posbench.recipe import PipelineRecipe, PythonRecipe, RankerRecipe
from posbench.reranking import Backend, PointwiseRecipe, Rerank
from posbench.sources import Source

PromptedRecipe = PointwiseRecipe | ListwiseRecipe


def reranked(name: str, recipe: RankerRecipe, wish: Rerank | None) -> tuple[str, RankerRecipe]:
    """A pipeline, and a name that says so ("e5>erank-4b@100").

    Args:
        name: the first stage's.
        recipe: the first stage's.
        wish: what is reranked; None leaves the first stage as it is.

    Raises:
        UsageError: what is named is no reranker, or the parts do not fit together.
        RecipeError: nothing of that name is known.
    """
    if wish is None:
        return name, recipe
    if isinstance(recipe, PipelineRecipe | PointwiseRecipe | ListwiseRecipe):
        raise UsageError(f"{name} is a {recipe.__struct_config__.tag}; --rerank needs a first stage, for example bm25")
    own_name, own = _reranker(wish.name)
    if not isinstance(own, PointwiseRecipe | ListwiseRecipe | PythonRecipe):
        found = own.__struct_config__.tag
        raise UsageError(f"{wish.name} is no reranker; found kind {found!r}, expected pointwise or listwise")
    try:
        changed = _own_class(own, wish) if isinstance(own, PythonRecipe) else changed_as(own, wish)
        made = PipelineRecipe(
            description=f"{name}, its top {wish.depth} reranked by {own_name}",
            first=recipe,
            rerank=changed,
            depth=wish.depth,
            weight=wish.weight,
            normalise=wish.normalise,
            ties=wish.ties,
            names=(name, label := _label(own_name, own, changed)),
        )
    except ValueError as error:
        raise UsageError(f"--rerank {wish.name}: {error}") from error
    return f"{name}>{label}@{wish.depth}{_fusion(wish)}", made


def _reranker(name: str) -> tuple[str, RankerRecipe]:
    """As ``rankers.resolve``; but a model folder is a cross-encoder's, as long as its own files say.

    Raises:
        UsageError: the folder holds another model.
        RecipeError: nothing of that name is known.
    """
    folder = Path(name)
    if not folder.is_dir():
        return resolve(name)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        shape, labels = str((config.get("architectures") or ["nothing"])[0]), len(config.get("id2label") or "no")
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{name} is no model folder: its config.json cannot be read ({error})") from error
    if not shape.endswith("ForSequenceClassification") or labels != 1:
        raise UsageError(
            f"{name} is no cross-encoder: its config.json says {shape} with {labels} labels; "
            "expected ...ForSequenceClassification with one"
        )
    source = (Source(path=str(folder.resolve())),)
    return folder.resolve().name, PointwiseRecipe(
        description=f"the cross-encoder in {name}",
        licence="see the model",
        method="plain",
        backend=Backend(engine="cross-encoder", source=source),
    )


def _own_class(recipe: PythonRecipe, wish: Rerank) -> PythonRecipe:
    """A class of the caller's as it is.

    Raises:
        ValueError: it is to have a prompt, a score or a server, of which it would hear nothing.
    """
    names = ("prompt", "score", "server", "server_model", "key_env", "dialect")
    alone = [f"--{name.replace('_', '-')}" for name in names if getattr(wish, name)]
    if alone:
        raise ValueError(f"{', '.join(alone)}: {recipe.target} is Python; give it that by args in a recipe")
    return recipe


def changed_as(recipe: PromptedRecipe, wish: Rerank) -> PromptedRecipe:
    """A reranker's recipe with the caller's prompt, score and server.

    Raises:
        ValueError: the score is none of the method's, the server's address is none or missing, or no server could have
            such a model.
    """
    changes: dict[str, Any] = {}
    if wish.prompt:
        changes |= {"prompt": wish.prompt, "protocol": f"prompt {Path(wish.prompt).name}"}
    if wish.score:
        if not isinstance(recipe, PointwiseRecipe):
            raise ValueError(f"score {wish.score!r}; a listwise reranker gives ranks")
        changes["score"] = wish.score
    if not wish.server and (wish.server_model or wish.key_env or wish.dialect):
        raise ValueError("--server-model, --key-env and --dialect are of a server: say --server URL too")
    if wish.server:
        own = recipe.backend
        if own.engine in ("cross-encoder", "seq2seq"):
            raise ValueError(f"engine {own.engine} runs in this process alone; --server is for language models")
        changes["backend"] = _at(own, wish)
    return msgspec.structs.replace(recipe, **changes)


def _at(own: Backend, wish: Rerank) -> Backend:
    """The backend at the caller's server; of one that is a server's, what is not of that server alone stays.

    A key goes to no server that it was not named for, and another server is another identity.
    """
    model = next((source.hub for source in own.source if source.hub), own.model)
    served = own.engine == "openai"
    asked = {
        "engine": "openai",
        "url": wish.server,
        "model": wish.server_model or (own.model if served else model),
        "dialect": wish.dialect or (own.dialect if served else "vllm"),
        "key_env": wish.key_env,
        "identity": "",
        "engine_args": {},
    }
    return msgspec.structs.replace(own, **asked)


def _label(name: str, own: RankerRecipe, changed: RankerRecipe) -> str:
    """The reranker in a pipeline's name: what is not as usual."""
    parts = [name]
    if isinstance(own, PromptedRecipe) and isinstance(changed, PromptedRecipe):
        parts += [Path(changed.prompt).stem] if changed.prompt != own.prompt else []
    if isinstance(own, PointwiseRecipe) and isinstance(changed, PointwiseRecipe):
        parts += [changed.scored] if changed.scored != own.scored else []
    return "+".join(parts)


def _fusion(wish: Rerank) -> str:
    return f"+{wish.weight:g}{'' if wish.normalise == 'zscore' else wish.normalise}" if wish.weight else ""
