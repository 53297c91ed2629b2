"""A sentence-transformers model as a function of its input embeddings, and what each token adds to a score.

The output of the model's embedding layer is replaced by a given tensor; everything after it, position embeddings,
layers, pooling and normalisation, is the model's own. So it works for every architecture and pooling alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from posbench.errors import UsageError
from posbench.rankers.dense import out_of_memory
from posbench.rankers.encoders import Encoder, layered
from posbench.studies.curves import Attribution
from posbench.types import Float32, Int32

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TOKENS = {"cpu": 2048, "cuda": 1 << 14}
_PROBE = "The keeper wound the clockwork of the lamp every evening."
_SAME = 0.999


@dataclass(frozen=True)
class Reading:
    """A batch of documents as the model reads them.

    ``features``: what its first module takes, [B, T]; ``content`` bool[B, T]: tokens of the document itself, not of
    prompt, suffix, padding or the model's own; ``spans`` int32[B, T, 2]: their characters in the document.
    """

    features: dict[str, Any]
    content: "Tensor"
    spans: Int32


class Differentiable:
    """The score of a query and a document as a function of the document's token embeddings."""

    def __init__(self, encoder: Encoder | None, max_tokens: int = 0) -> None:
        """Wraps an encoder.

        Args:
            encoder: of a sentence-transformers model; its weights are frozen.
            max_tokens: a shorter limit than the model's own; 0 for its own.

        Raises:
            UsageError: the model has no embedding layer to differentiate by, or cannot say which characters a token
                stands for, or reads texts in a way that is not followed here.
        """
        found = layered(encoder)
        if found is None:
            raise _no_gradient()
        self.encoder = encoder = found
        self.model = encoder.model.requires_grad_(False)
        self.max_tokens = min(max_tokens or encoder.max_tokens, encoder.max_tokens)
        least = int(encoder.lengths([""], "document")[0]) + 1
        if self.max_tokens < least:
            raise UsageError(
                f"{self.max_tokens} tokens leave no room for text beside prompt and special tokens; give --max-tokens "
                f"{least} or more"
            )
        self._layer = _input_layer(self.model)
        if not getattr(self.model.tokenizer, "is_fast", False):
            raise UsageError("this model's tokenizer keeps no character offsets; use --method occlusion")
        self._check()

    def read(self, documents: Sequence[str]) -> Reading:
        """Tokenises a batch with the model's document prompt, cut at ``max_tokens``."""
        prompt, suffix = self.encoder.prompts["document"], self.encoder.suffix
        features = dict(
            self.model.tokenizer(
                [prompt + text + suffix for text in documents],
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                return_tensors="pt",
                verbose=False,
            )
        )
        spans = features.pop("offset_mapping").numpy() - len(prompt)
        ends = np.array([len(text) for text in documents])[:, None]
        inside = (spans[..., 1] > 0) & (spans[..., 0] < ends)
        special = features.pop("special_tokens_mask").bool() | ~features["attention_mask"].bool()
        device = self.model.device
        content = special.new_tensor(inside) & ~special
        moved = {name: tensor.to(device) for name, tensor in features.items()}
        return Reading(moved, content.to(device), np.clip(spans, 0, ends[..., None]).astype(np.int32))

    def embeddings(self, reading: Reading) -> "Tensor":
        """What the embedding layer gives: [B, T, width]."""
        import torch

        with torch.no_grad():
            found: Tensor = self._layer(reading.features["input_ids"])
        return found

    def vectors(self, reading: Reading, embeddings: "Tensor") -> "Tensor":
        """The documents' vectors, float32[B, d], with the embedding layer's output replaced by ``embeddings``."""
        from torch.nn.functional import normalize

        hook = self._layer.register_forward_hook(lambda layer, given, out: embeddings)
        try:
            vectors: Tensor = self.model(dict(reading.features))["sentence_embedding"].float()
        finally:
            hook.remove()
        return normalize(vectors, dim=-1) if self.encoder.normalize else vectors

    def scores(self, reading: Reading, embeddings: "Tensor", queries: "Tensor") -> "Tensor":
        """The inner product with each document's query: float32[B]."""
        return (self.vectors(reading, embeddings) * queries).sum(-1)

    def slope(self, reading: Reading, embeddings: "Tensor", queries: "Tensor") -> tuple["Tensor", "Tensor"]:
        """The derivative of each score by its embeddings [B, T, width], and the scores [B]."""
        import torch

        leaf = embeddings.detach().clone().requires_grad_()
        with torch.enable_grad():
            scores = self.scores(reading, leaf, queries)
            (slope,) = torch.autograd.grad(scores.sum(), leaf)
        return slope, scores.detach()

    def _check(self) -> None:
        """Refuses a model whose own vector of a text is not what is differentiated here."""
        reading = self.read([_PROBE])
        here = self.vectors(reading, self.embeddings(reading)).cpu().numpy()[0]
        own = self.encoder.embed([_PROBE], "document")[0]
        cosine = float(here @ own / max(1e-12, float(np.linalg.norm(here) * np.linalg.norm(own))))
        if cosine < _SAME:
            raise UsageError(
                f"this model reads texts in a way of its own (cosine {cosine:.4f} to its own vector, expected 1); "
                "use --method occlusion"
            )


def _no_gradient() -> UsageError:
    return UsageError("this model has no token embeddings to differentiate by; use --method occlusion")


def _input_layer(model: Any) -> Any:
    for module in model:
        inner = getattr(module, "auto_model", None)
        if inner is None:
            continue
        try:
            layer = inner.get_input_embeddings()
        except (NotImplementedError, AttributeError):
            layer = None
        if layer is not None:
            return layer
    raise _no_gradient()


Method = Callable[[Differentiable, Reading, "Tensor"], tuple["Tensor", "Tensor", "Tensor"]]
"""Values [B, T], scores [B] and baseline scores [B] (NaN where there is none) of a batch."""


def norm(model: Differentiable, reading: Reading, queries: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """PosIR's saliency: the length of d score / d embedding of each token."""
    slope, scores = model.slope(reading, model.embeddings(reading), queries)
    return slope.norm(dim=-1), scores, scores.new_full(scores.shape, float("nan"))


def integrated(steps: int, baseline: Literal["zero", "mean"]) -> Method:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365): sums to score - baseline score.

    Only the document's own tokens move from the baseline to what they are. The integral is taken by Gauss and Legendre.

    Args:
        steps: points of the integral, each a pass forward and back.
        baseline: what each token starts from: a vector of zeros, or the mean of the document's own tokens.
    """

    def method(model: Differentiable, reading: Reading, queries: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
        import torch

        whole = model.embeddings(reading)
        content = reading.content.unsqueeze(-1)
        start = torch.zeros_like(whole[:, :1])
        if baseline == "mean":
            start = (whole * content).sum(1, keepdim=True) / content.sum(1, keepdim=True).clamp(min=1)
        way = torch.where(content, whole - start, torch.zeros_like(whole))
        mean = torch.zeros_like(whole)
        for node, weight in zip(*np.polynomial.legendre.leggauss(steps), strict=True):
            slope, _ = model.slope(reading, whole - way * float((1 - node) / 2), queries)
            mean += slope * float(weight / 2)
        with torch.no_grad():
            ends = [model.scores(reading, point, queries) for point in (whole, whole - way)]
        return (way * mean).sum(-1), ends[0], ends[1]

    return method


def attribute(model: Differentiable, documents: Sequence[str], queries: Float32, method: Method) -> list[Attribution]:
    """Attributions of one batch; on running out of memory of its halves, down to single documents.

    Args:
        model: what is differentiated.
        documents: B texts.
        queries: float32[B, d], the vector of each document's query.
        method: ``norm`` or what ``integrated`` gives.
    """
    try:
        return _attribute(model, documents, queries, method)
    except (RuntimeError, MemoryError) as error:
        if len(documents) == 1 or not out_of_memory(error):
            raise
        half = len(documents) // 2
    first = attribute(model, documents[:half], queries[:half], method)
    return first + attribute(model, documents[half:], queries[half:], method)


def _attribute(model: Differentiable, documents: Sequence[str], queries: Float32, method: Method) -> list[Attribution]:
    import torch

    reading = model.read(documents)
    asked = torch.from_numpy(np.array(queries, np.float32)).to(model.model.device)
    values, scores, baselines = (tensor.double().cpu().numpy() for tensor in method(model, reading, asked))
    own = reading.content.cpu().numpy()
    return [
        Attribution(values[i][own[i]], reading.spans[i][own[i]], float(scores[i]), float(baselines[i]))
        for i in range(len(documents))
    ]


def batches(lengths: Int32, limit: int, budget: int) -> Iterator[list[int]]:
    """Places of texts in batches, longest first, whose padded size stays within a budget of tokens."""
    order = np.argsort(-lengths, kind="stable").tolist()
    while order:
        size = max(1, budget // max(1, min(int(lengths[order[0]]), limit)))
        yield order[:size]
        order = order[size:]
