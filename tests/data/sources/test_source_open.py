import pytest

from electra_jax.config.text import DataConfig
from electra_jax.data.sources import open_source
from electra_jax.errors import UserError


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "is not a source of text"),
        ("wikipedia", "is not a source of text"),
        ("http://example.org/a.txt", "is not a source of text"),
        ("embedded:", "the embedded corpus is embedded:python-docs"),
        ("embedded:python_docs", "the embedded corpus is embedded:python-docs"),
        ("tfds:", "names no dataset"),
        ("tfds::train", "names no dataset"),
    ],
)
def test_unknown_sources(tmp_path, spec, message):
    with pytest.raises(UserError, match=message):
        open_source(spec, DataConfig(cache_dir=str(tmp_path / "cache")))


def test_a_bare_path_gets_a_hint(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    with pytest.raises(UserError, match=f"did you mean text:{path}"):
        open_source(str(path), DataConfig(cache_dir=str(tmp_path / "cache")))
