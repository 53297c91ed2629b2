import pytest

from posbench import recipe
from posbench.errors import RecipeError

GOOD = """
kind = "dense"
description = "a model"
licence = "MIT"
[[source]]
hub = "org/model"
[encode]
max_tokens = 512
"""


@pytest.mark.parametrize("name", recipe.names("rankers"))
def test_every_shipped_ranker_is_valid(name):
    found = recipe.ranker(name)
    assert found.description
    assert found.licence


@pytest.mark.parametrize("name", recipe.names("datasets"))
def test_every_shipped_dataset_is_valid(name):
    found = recipe.dataset(name)
    assert found.description
    assert found.licence


def test_the_models_that_people_ask_for_are_there():
    wanted = {"e5", "e5-base", "e5-large", "bge-m3", "gte-multilingual-base", "all-minilm-l6-v2", "wordllama", "bm25"}
    wanted |= {f"qwen3-embedding-{size}" for size in ("0.6b", "4b", "8b")} | {"inf-retriever-v1", "nv-embed-v2"}
    assert wanted <= set(recipe.names("rankers"))


def test_hub_sources_of_shipped_rankers_are_pinned():
    for name in recipe.names("rankers"):
        for source in getattr(recipe.ranker(name), "source", ()):
            assert not source.hub or len(source.revision) == 40, name


def test_aliases_name_one_ranker_each():
    seen = {}
    for name in recipe.names("rankers"):
        for alias in recipe.ranker(name).aliases:
            assert seen.setdefault(alias, name) == name
            assert recipe.ranker(alias) == recipe.ranker(name)


FAULTS = {
    "an unknown key": (
        GOOD + "pools = 1",
        r"my\.toml: key encode: object contains unknown field `pools` \(did you mean pooling\?\)",
    ),
    "an unknown key like no other": (GOOD + "xyzzy = 1", r"my\.toml: key encode: object .* field `xyzzy`$"),
    "an unknown key of a source": (
        GOOD.replace("hub =", "hubb ="),
        r"my\.toml: key source\[0\]: .* `hubb` \(did you mean hub\?\)",
    ),
    "an unknown key at the top": (
        GOOD.replace("licence =", "licens ="),
        r"my\.toml: key \(top level\): .* `licens` \(did you mean licence",
    ),
    "a wrong type": (GOOD.replace("512", '"512"'), r"my\.toml: key encode\.max_tokens: expected `int`, got `str`"),
    "a missing key": (GOOD.replace('licence = "MIT"', ""), r"my\.toml: key \(top level\): .*missing.*`licence`"),
    "an unknown kind": (GOOD.replace('"dense"', '"sparse"'), r"my\.toml: key kind: invalid value 'sparse'"),
    "a wrong choice": (GOOD + 'pooling = "middle"', r"my\.toml: key encode\.pooling: invalid enum value 'middle'"),
    "two sources in one": (
        GOOD.replace('hub = "org/model"', 'hub = "a/b"\npackage = "c"'),
        r"my\.toml: key source\[0\]: a source has exactly one of path, hub and package",
    ),
    "windows that leave gaps": (
        GOOD.replace('licence = "MIT"', 'licence = "MIT"\nwindow = "max"\nstride = 600'),
        r"my\.toml: key \(top level\): stride 600 leaves gaps between windows of 512 tokens",
    ),
    "no TOML": ("kind = ", r"my\.toml: not a readable TOML file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_file_key_and_expected_form(tmp_path, fault):
    text, message = FAULTS[fault]
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        recipe.read(path, "rankers")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="not a readable TOML file"):
        recipe.read(tmp_path / "my.toml", "rankers")


def test_unknown_names_get_the_nearest():
    with pytest.raises(RecipeError, match=r"no ranker 'bge-m4' \(did you mean bge-m3"):
        recipe.ranker("bge-m4")
    with pytest.raises(RecipeError, match=r"no dataset 'posri' \(did you mean posir"):
        recipe.dataset("posri")


def test_paths_in_a_recipe_start_at_its_folder(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(GOOD.replace('hub = "org/model"', 'path = "weights"'))
    assert recipe.read(path, "rankers").source[0].path == str(tmp_path / "weights")


def test_digest_ignores_the_order_of_keys():
    assert recipe.digest({"a": 1, "b": [2]}) == recipe.digest({"b": [2], "a": 1})
    assert recipe.digest({"a": 1}) != recipe.digest({"a": 2})
