"""Finds, validates and fingerprints the TOML recipes; the only module that knows where their folders are.

A recipe says what is evaluated: ``datasets/NAME.toml`` a family of collections, ``rankers/NAME.toml`` a ranker. Their
fields are the classes below; a file with an unknown key or a value of the wrong type is refused with file, key and the
expected form.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from posbench.errors import RecipeError, unknown_name
from posbench.listwise import ListwiseRecipe
from posbench.reranking import Backend, PointwiseRecipe, RunRecipe
from posbench.sources import Source as Source

_PACKAGED = Path(__file__).parent / "_recipes"
ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1]
"""The folder that holds ``datasets/`` and ``rankers/``: inside the wheel, or the top of a checkout."""

Fault = Literal["duplicate_ids", "empty_texts", "unknown_ids", "bad_spans"]
Action = Literal["refuse", "drop"]
Window = Literal["truncate", "average", "max"]


class DatasetRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A family of collections of one file layout."""

    kind: Literal["posir", "beir", "squad", "trec", "jsonl", "bright", "followir"]
    description: str
    licence: str
    citation: str = ""
    source: tuple[Source, ...] = ()
    languages: tuple[str, ...] = ()  # posir: language codes, as folders are named
    domains: tuple[str, ...] = ()  # posir: domain folders
    subsets: dict[str, str] = {}  # all but posir: subset name -> repository, file or folder under the source
    aliases: dict[str, str] = {}  # short spellings of languages or domains
    default: str = ""  # the subset that the bare name stands for
    corpus: Literal["domain", "language"] = "domain"  # posir: what is searched, one domain or all of a language at once
    documents: Literal["paragraph", "article"] = "paragraph"  # squad
    split: str = "test"
    faults: dict[Fault, Action] = {}


class Encode(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How a dense ranker turns text into vectors."""

    max_tokens: int
    query_prompt: str = ""
    document_prompt: str = ""
    suffix: str = ""  # appended to every text, for models that want their end token spelled out
    pooling: Literal["", "mean", "cls", "lasttoken", "max"] = ""  # empty: as the model's own files say
    normalize: bool = True
    remote_code: bool = False  # the model needs its own code; runs only if the user says --trust-remote-code too
    padding_side: Literal["", "left", "right"] = ""
    model_args: dict[str, Any] = {}


class DenseRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="dense"):
    """An embedding model and exact search by inner product."""

    description: str
    licence: str
    source: tuple[Source, ...]
    encode: Encode
    aliases: tuple[str, ...] = ()
    citation: str = ""
    parameters: str = ""
    dimensions: int = 0
    requires: dict[str, str] = {}  # package -> version specifier without which the numbers are wrong
    window: Window = "truncate"  # of a text longer than a window: cut off, or read in windows (see windows.py)
    window_tokens: int = 0  # of a window, prompt and special tokens included; 0: max_tokens
    stride: int = 0  # tokens from one window's start to the next one's, at most; 0: no more overlap than needed

    def __post_init__(self) -> None:
        most = self.window_tokens or self.encode.max_tokens
        if self.window == "truncate" and (self.window_tokens or self.stride):
            raise ValueError("window_tokens and stride need window average or max; found truncate")
        if self.window_tokens < 0 or self.stride < 0:
            raise ValueError(f"window_tokens {self.window_tokens} and stride {self.stride}; expected 0 or more")
        if self.encode.max_tokens and self.window_tokens > self.encode.max_tokens:
            raise ValueError(f"window_tokens {self.window_tokens}; the model reads {self.encode.max_tokens}")
        if most and self.stride > most:
            raise ValueError(f"stride {self.stride} leaves gaps between windows of {most} tokens")


class Bm25Recipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="bm25"):
    """BM25 with Lucene's formula."""

    description: str
    licence: str
    k1: float = 0.9
    b: float = 0.4
    language: str = "en"  # of the analyser; a collection whose documents are all in one known language overrides it
    engine: Literal["auto", "pyserini", "bm25s"] = "auto"
    aliases: tuple[str, ...] = ()
    citation: str = ""


class PythonRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="python"):
    """A user's own ranker class, ``module:Class``, built with ``args``."""

    description: str
    target: str
    licence: str = ""
    args: dict[str, Any] = {}
    aliases: tuple[str, ...] = ()


class HnswRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="hnsw"):
    """A dense ranker whose documents are found through an HNSW index instead of exact search.

    Parameters that are 0 come from ``preset`` (``rankers/hnsw/presets.toml``); without one, all three are given.
    """

    description: str
    ranker: (
        str | DenseRecipe
    )  # the dense ranker: a recipe's name, a file (relative ones start at the recipe's own) or a table
    preset: str = ""
    library: Literal["auto", "hnswlib", "faiss", "faiss-once", "cagra"] = "auto"  # auto: hnswlib, else faiss
    m: int = 0
    ef_construction: int = 0
    ef_search: int = 0
    order: Literal["given", "random"] = "given"  # in which documents are inserted
    seed: int = 0  # of the levels, and of the random order
    licence: str = ""
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = {"m": self.m, "ef_construction": self.ef_construction, "ef_search": self.ef_search}
        if min(*numbers.values(), self.seed) < 0:
            raise ValueError(f"m, ef_construction, ef_search and seed are 0 or more; found {numbers}, seed {self.seed}")
        missing = [name for name, value in numbers.items() if not value]
        if missing and not self.preset:
            raise ValueError(
                f"an index needs a preset, or m, ef_construction and ef_search; {', '.join(missing)} missing"
            )


class PipelineRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="pipeline"):
    """A first stage, and a reranker of the top of what it finds.

    ``weight`` above 0 adds the first stage's score: weight * first + (1 - weight) * reranker's, normalised a query.
    """

    description: str
    first: str | DenseRecipe | Bm25Recipe | PythonRecipe | HnswRecipe | RunRecipe  # a name, a file, or a table
    rerank: str | PointwiseRecipe | ListwiseRecipe | PythonRecipe
    depth: int = 100  # documents reranked a query
    weight: float = 0.0
    normalise: Literal["zscore", "minmax"] = "zscore"
    ties: Literal["first", "docid"] = "first"  # what orders equal scores: the first stage, or document ids as trec_eval
    names: tuple[str, str] = ("", "")  # of the two, in results; empty: as they are given
    licence: str = ""
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.depth < 1 or not 0 <= self.weight <= 1:
            raise ValueError(f"depth {self.depth}, weight {self.weight}; expected 1 or more, and 0 to 1")


RankerRecipe = (
    DenseRecipe | Bm25Recipe | PythonRecipe | HnswRecipe | PointwiseRecipe | ListwiseRecipe | RunRecipe | PipelineRecipe
)
_TYPES: dict[str, Any] = {"datasets": DatasetRecipe, "rankers": RankerRecipe}


def names(kind: Literal["datasets", "rankers"]) -> list[str]:
    """The names of all shipped recipes of a kind, in alphabetical order."""
    return sorted(path.stem for path in (ROOT / kind).glob("*.toml"))


def dataset(name: str) -> DatasetRecipe:
    """The shipped dataset recipe of this name.

    Raises:
        RecipeError: there is none of that name, or its file is wrong.
    """
    recipe = _shipped("datasets", name)
    assert isinstance(recipe, DatasetRecipe)
    return recipe


def ranker(name: str) -> RankerRecipe:
    """The shipped ranker recipe of this name or alias.

    Raises:
        RecipeError: there is none of that name, or its file is wrong.
    """
    recipe: RankerRecipe = _shipped("rankers", name)
    return recipe


def read(path: Path, kind: Literal["datasets", "rankers"]) -> Any:
    """A recipe from a file of the user's own.

    Raises:
        RecipeError: the file is not TOML, or a key is unknown, missing or of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from error
    try:
        recipe = msgspec.convert(table, _TYPES[kind])
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        key = where.strip("`.") or "(top level)"
        said = f"{message[:1].lower()}{message[1:]}{_nearest_key(message, where, kind)}"
        raise RecipeError(f"{path}: key {key}: {said}") from error
    return _placed(recipe, path.resolve().parent)


def _placed(recipe: Any, folder: Path) -> Any:
    """A recipe whose relative paths start at a folder, in the tables within it too."""
    changes: dict[str, Any] = {}
    for name in recipe.__struct_fields__:
        value = getattr(recipe, name)
        if isinstance(value, msgspec.Struct):
            changes[name] = _placed(value, folder)
        elif name == "source":
            changes[name] = tuple(_placed(source, folder) for source in value)
        elif isinstance(value, str) and value and _is_path(recipe, name, value):
            changes[name] = str(folder / Path(value).expanduser())
    return msgspec.structs.replace(recipe, **changes) if changes else recipe


def _is_path(recipe: Any, name: str, value: str) -> bool:
    """Whether a field's text is a path: always, or where it ends like a file of its kind."""
    if isinstance(recipe, Source | RunRecipe):
        return name == "path"
    return (name in ("ranker", "first", "rerank") and value.endswith(".toml")) or (
        name == "prompt" and value.endswith(".txt")
    )


def _nearest_key(message: str, where: str, kind: str) -> str:
    """The keys most like the unknown one that a message names, as a remark; "" where none is or the fault is another.

    ``where`` is the place of the table that holds it: "" or "`" for the top, ".encode`" and "[0]" parts below it.
    """
    unknown = re.fullmatch("Object contains unknown field `(.*)`", message)
    if unknown is None:
        return ""
    below = where.strip("`.").split("[")[0]
    tables: Any = {"encode": [Encode], "source": [Source], "backend": [Backend]}.get(
        below, get_args(_TYPES[kind]) or [_TYPES[kind]]
    )
    near = get_close_matches(unknown[1], sorted({name for table in tables for name in table.__struct_fields__}))
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def fingerprint(recipe: Any) -> str:
    """A hash of a recipe's content: 16 hexadecimal digits."""
    return digest(msgspec.to_builtins(recipe))


def digest(content: Any) -> str:
    """A hash of any JSON-serialisable content, independent of the order of keys: 16 hexadecimal digits."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return blake2b(canonical.encode(), digest_size=8).hexdigest()


def _aliases(kind: Literal["datasets", "rankers"]) -> Iterator[tuple[str, str]]:
    for name in names(kind):
        text = (ROOT / kind / f"{name}.toml").read_text(encoding="utf-8")
        if "aliases" in text:
            for alias in tomllib.loads(text).get("aliases", ()):
                yield alias, name


def path_of(name: str, kind: Literal["datasets", "rankers"]) -> Path | None:
    """The file of the shipped recipe of this name or, for rankers, alias; None where there is none."""
    known = names(kind)
    if name not in known and kind == "rankers":
        name = dict(_aliases(kind)).get(name, name)
    return ROOT / kind / f"{name}.toml" if name in known else None


def _shipped(kind: Literal["datasets", "rankers"], name: str) -> Any:
    path = path_of(name, kind)
    if path is None:
        raise unknown_name(kind[:-1], name, names(kind), f"`posbench list {kind}` shows all, or give a path")
    return read(path, kind)
