"""Fine-tunes a causal language model on complete rankings with FullRank's importance-aware loss (arXiv 2412.14574).

    posbench labels --dataset my/beir/folder --model bm25 --rerank TEACHER --to labels.jsonl
    python examples/train_importance_loss.py --labels labels.jsonl --dataset my/beir/folder --model FOLDER --to tuned

A sketch to start from: one process, one device, plain AdamW. For a 7B model wrap the same loss in a Trainer with
DeepSpeed or LoRA. Without --model a tiny random model is made, to see that all runs.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from posbench import loaders
from posbench.rankers.listwise import fit
from posbench.rankers.listwise.answers import written
from posbench.rankers.listwise.importance import token_weights
from posbench.rankers.llm.prompts import template

IGNORED = -100


def importance_loss(logits: Any, labels: Any, weights: Any) -> Any:
    """Weighted negative log-likelihood over the number of label tokens, as FullRank's code has it.

    Args:
        logits: [B, T, V].
        labels: int[B, T], -100 where nothing is learnt; token t is predicted from what stands before it.
        weights: float[B, T], aligned with the labels. All 1 is the usual loss.
    """
    given, wanted, weight = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), weights[:, 1:].flatten()
    losses = torch.nn.functional.cross_entropy(given.float(), wanted, reduction="none", ignore_index=IGNORED)
    return (losses * weight).sum() / (wanted != IGNORED).sum()


def example(
    tokenizer: Any, prompt: str, ranking: str, alpha: float, limit: int
) -> tuple[list[int], list[int], list[float]]:
    """Tokens, labels and weights of one prompt and its ranking; the end token is learnt, so that the model can stop."""
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    label = tokenizer(ranking, add_special_tokens=False, return_offsets_mapping=True)
    own = [*label["input_ids"], tokenizer.eos_token_id]
    weights = [*token_weights(ranking, label["offset_mapping"], alpha).tolist(), alpha]
    before = before[-max(1, limit - len(own)) :]
    return before + own, [IGNORED] * len(before) + own, [0.0] * len(before) + weights


def examples(args: argparse.Namespace, tokenizer: Any) -> Iterator[tuple[list[int], list[int], list[float]]]:
    """Every labelled list as an example, passages in the first stage's order."""
    collections = loaders.load(args.dataset)
    texts = {i: t for c in collections for i, t in zip(c.doc_ids.to_pylist(), c.docs.to_pylist(), strict=True)}
    queries = {i: t for c in collections for i, t in zip(c.query_ids.to_pylist(), c.queries.to_pylist(), strict=True)}
    prompt = template(args.prompt)
    for line in args.labels.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        shown = row["initial_list"]
        passages = fit.lines([fit.plain(texts[doc], args.words) for doc in shown])
        fields = {"query": fit.plain(queries[row["qid"]]), "count": str(len(shown)), "example": "[2] > [1]"}
        messages = prompt.fill({**fields, "passages": passages}).messages
        turns = [{"role": turn.role, "content": turn.content} for turn in messages]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        place = {doc: at for at, doc in enumerate(shown)}
        yield example(tokenizer, text, written([place[doc] for doc in row["final_list"]]), args.alpha, args.tokens)


def tiny(folder: Path) -> Path:
    """A random model of two layers with a tokenizer of bytes, to see that all runs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: at for at, word in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    own = Tokenizer(models.BPE(words, []))
    own.pre_tokenizer, own.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=own, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}<s>"
    tokenizer.save_pretrained(str(folder))
    shape: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(str(folder))
    return folder


def main() -> None:
    """Trains and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--to", type=Path, required=True, help="folder of the tuned model")
    parser.add_argument("--model", default="", help="folder or hub id; empty: a tiny random model")
    parser.add_argument("--prompt", default="listwise")
    parser.add_argument("--words", type=int, default=100, help="of a passage")
    parser.add_argument("--tokens", type=int, default=16384, help="of an example, beginnings of prompts are cut")
    parser.add_argument("--alpha", type=float, default=1.0, help="weight of what is no identifier")
    parser.add_argument("--rate", type=float, default=5e-6)
    parser.add_argument("--steps", type=int, default=0, help="0: once through the labels")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    source = args.model or str(tiny(args.to))
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source).to(args.device).train()
    rows = list(examples(args, tokenizer))
    order = random.Random(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate)
    for step in range(args.steps or len(rows)):
        if step % len(rows) == 0:
            order.shuffle(rows)
        tokens, labels, weights = (torch.tensor([part], device=args.device) for part in rows[step % len(rows)])
        loss = importance_loss(model(tokens).logits, labels, weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        sys.stdout.write(f"step {step + 1} loss {loss.item():.4f}\n")
    model.save_pretrained(str(args.to))
    tokenizer.save_pretrained(str(args.to))


if __name__ == "__main__":
    main()
