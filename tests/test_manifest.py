import pytest

from posbench import manifest


def test_audits_of_several_collections_as_one():
    first = {"max_tokens": 8, "documents": 10, "documents_cut": 0.5, "evidence": 4, "evidence_beyond": 0.25}
    second = {"max_tokens": 8, "documents": 30, "documents_cut": 0.1}
    merged = manifest.truncation([first, second])
    assert merged["documents"] == 40
    assert merged["documents_cut"] == pytest.approx(8 / 40)
    assert (merged["evidence"], merged["evidence_beyond"]) == (4, 0.25)
    assert "window" not in merged
    assert manifest.truncation([]) is None


def test_audits_of_windows_add_up():
    part = {"max_tokens": 8, "window": "max", "documents": 10, "documents_cut": 0.0, "windows": 15}
    part |= {"documents_windowed": 0.4, "evidence": 4, "evidence_beyond": 0.0, "evidence_parted": 0.5}
    other = {**part, "documents": 30, "windows": 60, "documents_windowed": 0.8, "evidence": 12, "evidence_parted": 0.1}
    merged = manifest.truncation([part, other])
    assert (merged["window"], merged["windows"], merged["documents"]) == ("max", 75, 40)
    assert merged["documents_windowed"] == pytest.approx(0.7)
    assert merged["evidence_parted"] == pytest.approx(0.2)


def test_versions_and_memory_are_there():
    assert {"posbench", "python", "numpy", "pyarrow"} <= set(manifest.versions())
    assert manifest.peak_memory()["process"] > 10
