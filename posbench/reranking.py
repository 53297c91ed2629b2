"""The recipes of rerankers: what answers, how it is asked, and how its answers become scores."""

from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from posbench.sources import Source

Engine = Literal["transformers", "vllm", "openai", "instant", "seq2seq", "cross-encoder"]


class Backend(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What answers prompts: a language model in this process, or a server that speaks OpenAI's protocol.

    A key is never part of a recipe: ``key_env`` names the environment variable that holds it.
    """

    engine: Engine
    source: tuple[Source, ...] = ()  # weights; for a server its tokenizer, without which it counts tokens itself
    url: str = ""  # of the server, up to and with /v1
    model: str = ""  # the server's name for its model
    dialect: Literal["openai", "vllm"] = "openai"  # vllm: constraints, openings and given texts can be sent too
    key_env: str = ""
    identity: str = ""  # what answers, where that should not be the server's address
    context: int = 0  # tokens of prompt and answer together; 0: as the model's files say, else unknown
    concurrency: int = 8  # requests that a server has at one time
    timeout: float = 600.0  # seconds that a server may take for one answer
    retries: int = 6  # after a fault of transport
    backoff: float = 0.5  # seconds before the first of them; doubled each time
    template_args: dict[str, Any] = {}  # for the chat template, for example enable_thinking = false
    engine_args: dict[str, Any] = {}  # for transformers' from_pretrained or vLLM's LLM
    batch_tokens: int = 0  # of a batch in this process; 0: 2,048 on a CPU, 65,536 on a GPU
    reply: str = ""  # instant: what is always answered
    price_in: float = 0.0  # of a million tokens, in any currency
    price_out: float = 0.0

    def __post_init__(self) -> None:
        if self.engine == "openai" and not (self.url and self.model):
            raise ValueError("a server needs url and model (--server-model)")
        if self.engine not in ("openai", "instant") and not self.source:
            raise ValueError(f"engine {self.engine} needs a [[backend.source]] of its weights")
        if self.url:
            _check_url(self.url)
        if min(self.concurrency, self.retries + 1, 1) < 1 or self.timeout <= 0 or self.backoff < 0 or self.context < 0:
            raise ValueError("concurrency is 1 or more, timeout above 0, retries, backoff and context 0 or more")


def _check_url(url: str) -> None:
    """Refuses a server's address that cannot be one, in words without what may be a secret in it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"url {parts.scheme}://{host}...; expected http:// or https:// and a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a url has no user, password or query: name the key's environment variable in key_env")
    try:
        host.encode("idna")
        _ = parts.port
    except ValueError:  # of which UnicodeError is one
        raise ValueError(f"url {parts.scheme}://...; expected a host's name and a port from 0 to 65535") from None
    if " " in host or not (parts.path.isascii() and parts.path.isprintable()) or " " in parts.path:
        raise ValueError(f"url {parts.scheme}://...; expected no space, and a path in ASCII (percent-encoded)")


class PointwiseRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="pointwise"):
    """A reranker that scores one document at a time.

    ``method`` says how an answer becomes a score: "graded" reads an integer from 0 to 10 (ERank), "binary" compares the
    probabilities of two words (Qwen3-Reranker, monoT5), "likelihood" is that of the query given the document, and
    "plain" takes the number that a cross-encoder gives.
    """

    description: str
    licence: str
    method: Literal["graded", "binary", "likelihood", "plain"]
    backend: Backend
    prompt: str = ""  # a name in rankers/prompts/, or a file (relative ones start at the recipe's own)
    protocol: str = ""  # what it is called in results, where it is not the published one
    score: Literal["", "published", "expected", "integer", "probability", "margin", "mean", "sum"] = ""
    labels: tuple[str, str] = ("yes", "no")  # binary: the words for relevant and for not
    instruction: str = ""
    instructions: dict[str, str] = {}  # by dataset, as it is named or as a pattern ("bright/*")
    query_tokens: int = 0  # cut off behind them; 0: nothing
    document_tokens: int = 0
    answer_tokens: int = 16
    asks: int = 1  # graded: times a prompt is asked until the answer has a score
    temperature: float = 0.7  # of all but the first
    fallback: Literal["lowest", "mean"] = "lowest"  # for a document without a score: of the scale, or of its query's
    parameters: str = ""
    aliases: tuple[str, ...] = ()
    citation: str = ""

    def __post_init__(self) -> None:
        allowed = SCORES[self.method]
        if self.score and self.score not in allowed:
            raise ValueError(f"score {self.score!r}; {self.method} has {', '.join(allowed) or 'none'}")
        if bool(self.prompt) == (self.method == "plain"):
            raise ValueError("graded, binary and likelihood need a prompt; plain has none")
        if min(self.query_tokens, self.document_tokens, self.answer_tokens - 1, self.asks - 1) < 0:
            raise ValueError("query_tokens and document_tokens are 0 or more, answer_tokens and asks 1 or more")

    @property
    def scored(self) -> str:
        """The score that is used: the first of the method's, unless another is named."""
        return self.score or next(iter(SCORES[self.method]), "")


SCORES: dict[str, tuple[str, ...]] = {
    "graded": ("published", "expected", "integer"),
    "binary": ("margin", "probability"),  # in one order; the first does not saturate
    "likelihood": ("mean", "sum"),
    "plain": (),
}


class RunRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="run"):
    """What was ranked before: a TREC run file, or the folder of a stored result."""

    description: str
    path: str
    licence: str = ""
    aliases: tuple[str, ...] = ()


class Rerank(msgspec.Struct, frozen=True):
    """What a caller wants reranked, and how; what is empty or 0 is as the recipe has it.

    ``server`` is the address of a server that speaks OpenAI's protocol and has the recipe's model under
    ``server_model`` (by default the model's name on the hub); ``key_env`` names the variable with its key, and
    ``dialect`` is "vllm" (as by default) or "openai".
    """

    name: str
    depth: int = 100
    weight: float = 0.0
    normalise: Literal["zscore", "minmax"] = "zscore"
    ties: Literal["first", "docid"] = "first"
    prompt: str = ""
    score: str = ""
    server: str = ""
    server_model: str = ""
    key_env: str = ""
    dialect: str = ""
