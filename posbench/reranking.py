"""The recipes of rerankers: what answers, how it is asked, and how its answers become scores."""

from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from posbench.sources import Source

Engine = Literal["transformers", "vllm", "openai", "instant"]


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
            raise ValueError("a server needs url and model")
        if self.engine in ("transformers", "vllm") and not self.source:
            raise ValueError(f"engine {self.engine} needs a [[backend.source]] of its weights")
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"url {parts.scheme}://{parts.hostname or ''}...; expected http:// or https:// and a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a url has no user, password or query: name the key's environment variable in key_env")
        if min(self.concurrency, self.retries + 1, 1) < 1 or self.timeout <= 0 or self.backoff < 0 or self.context < 0:
            raise ValueError("concurrency is 1 or more, timeout above 0, retries, backoff and context 0 or more")
