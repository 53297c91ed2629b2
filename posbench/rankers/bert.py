"""Plain BERT encoders straight from their files, without the libraries whose import takes longer than the loading.

A folder is plain if it is a sentence-transformers model of a BERT, a pooling and perhaps a normalisation, with float
weights in one safetensors file and a tokenizer.json; ``read`` gives None for any other, and for settings that are not
followed here. The model is that of Devlin et al. 2019 (arXiv 1810.04805): embeddings of words, positions and segments,
then layers of attention and of two products around a GELU, each added to its input and normalised. It computes what
transformers computes, operation by operation, so that a vector is the same to the last bit.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from posbench.rankers.tokens import Role, Tokens, prompts_of
from posbench.recipe import Encode
from posbench.types import Float32

if TYPE_CHECKING:
    from torch import Tensor

_KNOWN = {"max_seq_length", "do_lower_case"}  # keys of sentence_bert_config.json
_POOLINGS = {"cls_token": "cls", "mean_tokens": "mean"}
_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)


class Shape(NamedTuple):
    """What the weights do not say of a model."""

    layers: int
    heads: int
    epsilon: float
    pooling: str
    normalized: bool
    limit: int
    pad: int


def read(encode: Encode, folder: Path) -> "BertEncoder | None":
    """The encoder of a plain BERT folder on the CPU, or None where sentence-transformers must read the folder."""
    if encode.remote_code or encode.model_args or encode.padding_side:
        return None
    try:
        shape = _shape(folder, encode)
        if shape is None:
            return None
        weights = _weights(folder / "model.safetensors", shape.layers)
        own = _json(folder, "config_sentence_transformers.json") if not encode.max_tokens else {}
    except (OSError, KeyError, ValueError, TypeError, AttributeError):  # sentence-transformers says what is wrong
        return None
    return None if weights is None else BertEncoder(encode, folder, shape, weights, own.get("prompts") or {})


def _json(folder: Path, name: str) -> Any:
    path = folder / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _shape(folder: Path, encode: Encode) -> Shape | None:
    config, reading = _json(folder, "config.json"), _json(folder, "sentence_bert_config.json")
    steps = [(item["type"].rsplit(".", 1)[-1], item["path"]) for item in _json(folder, "modules.json")]
    kinds = [kind for kind, _ in steps]
    pooling = _pooling(_json(folder, f"{steps[1][1]}/config.json")) if kinds[1:2] == ["Pooling"] else ""
    tokens = _json(folder, "tokenizer_config.json")
    plain = (
        kinds in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
        and steps[0][1] == ""
        and (folder / "tokenizer.json").is_file()
        and pooling in {"cls", "mean"}
        and encode.pooling in {"", pooling}
        and config["model_type"] == "bert"
        and config["hidden_act"] == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and "auto_map" not in config
        and set(reading) <= _KNOWN
        and not reading.get("do_lower_case")
        and not _json(folder, "config_sentence_transformers.json").get("default_prompt_name")
        and tokens.get("padding_side", "right") == tokens.get("truncation_side", "right") == "right"
    )
    limit = min(encode.max_tokens or reading.get("max_seq_length") or 0, config["max_position_embeddings"])
    if not plain or limit < 1:
        return None
    layers, heads, pad = (int(config[key]) for key in ("num_hidden_layers", "num_attention_heads", "pad_token_id"))
    return Shape(layers, heads, config["layer_norm_eps"], pooling, kinds[-1] == "Normalize", limit, pad)


def _pooling(config: Mapping[str, Any]) -> str:
    """The one way of pooling that a configuration names, "" for others, several or none."""
    if config.get("include_prompt", True) is not True:
        return ""
    names = [key.removeprefix("pooling_mode_") for key, value in config.items() if value is True]
    named = config.get("pooling_mode") or "+".join(_POOLINGS.get(n, n) for n in names if n != "include_prompt")
    return str(named)


def _weights(file: Path, layers: int) -> "dict[str, Tensor] | None":
    """The tensors of embeddings and layers in float32, or None where the file has other names."""
    from safetensors.torch import load_file

    found = {name.removeprefix("bert."): tensor for name, tensor in load_file(file).items()}
    wanted = [f"embeddings.{name}.weight" for name in _EMBEDDINGS]
    modules = ["embeddings.LayerNorm", *(f"encoder.layer.{at}.{part}" for at in range(layers) for part in _PARTS)]
    wanted += [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]
    return {name: found[name].float() for name in wanted} if set(wanted) <= set(found) else None


class BertEncoder(Tokens):
    """A plain BERT in float32 on the CPU."""

    def __init__(
        self, encode: Encode, folder: Path, shape: Shape, weights: "dict[str, Tensor]", own: Mapping[str, str]
    ) -> None:
        from tokenizers import Tokenizer

        super().__init__(encode, prompts_of(encode, own), shape.limit)
        self.recipe, self.folder = encode, folder
        self._shape, self._tensors = shape, weights
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of one batch, in which longer texts stand first, as sentence-transformers has them."""
        import torch
        from torch.nn.functional import normalize

        order = np.argsort([-len(text) - len(self.suffix) for text in texts])
        rows = self._tokenize([self._whole(texts[i], role) for i in order], truncation=True)["input_ids"]
        width = max(map(len, rows))
        with torch.inference_mode():
            ids = torch.tensor([row + [self._shape.pad] * (width - len(row)) for row in rows])
            mask = torch.arange(width) < torch.tensor([[len(row)] for row in rows])
            vectors = self._pool(self._forward(ids, mask), mask)
            for _ in range(self._shape.normalized + self.recipe.normalize):
                vectors = normalize(vectors, dim=1)
        made = np.empty(vectors.shape, np.float32)
        made[order] = vectors.numpy()
        return made

    def _tokenize(self, texts: list[str], *, truncation: bool, spans: bool = False) -> Mapping[str, Any]:
        if truncation:
            self._tokenizer.enable_truncation(self.max_tokens)
        else:
            self._tokenizer.no_truncation()
        found = self._tokenizer.encode_batch(texts)
        names = {"input_ids": "ids"}
        if spans:
            names |= {"offset_mapping": "offsets", "special_tokens_mask": "special_tokens_mask"}
        return {key: [getattr(item, name) for item in found] for key, name in names.items()}

    def _pool(self, states: "Tensor", mask: "Tensor") -> "Tensor":
        """One vector [B, d] for the token vectors [B, T, d] that the mask [B, T] keeps."""
        if self._shape.pooling == "cls":
            return states[:, 0]
        kept = mask.unsqueeze(-1).to(states.dtype)
        return (states * kept).sum(1) / kept.sum(1).clamp(min=1e-9)

    def _forward(self, ids: "Tensor", mask: "Tensor") -> "Tensor":
        """Token vectors [B, T, d] of token numbers [B, T]."""
        from torch.nn.functional import gelu, scaled_dot_product_attention

        words, positions, segments = (self._tensors[f"embeddings.{name}.weight"] for name in _EMBEDDINGS)
        states = self._norm("embeddings.LayerNorm", words[ids] + segments[0] + positions[: ids.shape[1]])
        # without padding no mask, as transformers: another kernel may round otherwise
        seen = None if mask.all() else mask[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        for at in range(self._shape.layers):
            query, key, value, mix, after, inner, outer, last = (f"encoder.layer.{at}.{part}" for part in _PARTS)
            asked, keys, values = (
                self._linear(name, states).reshape(*ids.shape, self._shape.heads, -1).transpose(1, 2)
                for name in (query, key, value)
            )
            read = scaled_dot_product_attention(asked, keys, values, attn_mask=seen).transpose(1, 2).flatten(2)
            states = self._norm(after, self._linear(mix, read) + states)
            states = self._norm(last, self._linear(outer, gelu(self._linear(inner, states))) + states)
        return states

    def _linear(self, name: str, states: "Tensor") -> "Tensor":
        from torch.nn.functional import linear

        return linear(states, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _norm(self, name: str, states: "Tensor") -> "Tensor":
        from torch.nn.functional import layer_norm

        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return layer_norm(states, weight.shape, weight, bias, self._shape.epsilon)
