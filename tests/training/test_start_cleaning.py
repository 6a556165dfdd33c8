"""Which accents a run keeps: what is given, else what the run has, else what the run it starts from has."""

import pytest
from small_run import small_config

from electra_jax.training import start
from electra_jax.training.start import resolve_cleaning
from electra_jax.training.workdir import WorkDir


@pytest.mark.parametrize(
    ("given", "run", "origin", "expected"),
    [
        (None, None, None, False),
        (None, True, None, True),  # a run of before, when stripping was the default
        (None, False, True, False),
        (None, None, True, True),
        (False, True, True, False),  # what is given is compared with the run, not overruled by it
        (True, None, False, True),
    ],
)
def test_accents_of_runs(tmp_path, monkeypatch, given, run, origin, expected):
    def config(strip_accents, **settings):
        return small_config(tokenizer={"strip_accents": strip_accents, "vocab_file": None}, **settings)

    workdir = WorkDir(tmp_path)
    if run is not None:
        workdir.write_config(config(run))
    if origin is not None:
        found = type("Origin", (), {"config": config(origin)})
        monkeypatch.setattr(start, "find_initial_checkpoint", lambda _: found)
    asked = config(given, init_from=None if origin is None else "older")
    resolved = resolve_cleaning(asked, workdir)
    assert resolved.tokenizer.strip_accents is expected
    workdir.write_config(resolved)
    assert resolve_cleaning(workdir.load_config(), workdir) == resolved
