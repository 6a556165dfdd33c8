"""electra_jax.generate with a generator and its discriminator: gaps and drafts of a file, as JSON lines."""

import json

import jax
import pytest
from huggingface_folder import write_pair

from electra_jax import generate
from electra_jax.partitioning import mesh

QUICK = ("generation.refine.steps=2", "generation.refine.threshold=0")


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "one_device_per_core", lambda: None)
    monkeypatch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
    return write_pair(tmp_path / "pair")


def test_gaps_are_filled_and_other_lines_are_drafts(workdir, tmp_path, command):
    (tmp_path / "in.txt").write_text("word1 ___ word2\nword1 word2 word3\n")
    ended = command(
        generate.main,
        "--workdir",
        workdir,
        "--input",
        tmp_path / "in.txt",
        "generation.method=refine",
        *QUICK,
    )
    assert ended.status == 0, ended.err
    gap, draft = map(json.loads, ended.out.splitlines())
    assert gap["text"].startswith("word1 word")
    assert gap["text"].endswith(" word2")
    assert [len(line["trace"]) for line in (gap, draft)] == [2, 3]  # a draft is judged as it is, too
    assert [line["score"] for line in (gap, draft)] == [line["trace"][-1] for line in (gap, draft)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["generation.refine.steps=0"],
            "generation.refine.steps is 0, but must be greater than or equal to 1",
        ),
        (
            ["generation.refine.kept=1"],
            "unknown key generation.refine.kept; did you mean generation.refine.keep?",
        ),
        (["generation.n=2", "generation.method=refine"], "refine"),
        (
            ["generation.temperature=0.5"],
            "generation.temperature=0.5 is not read by generation.method=refine",
        ),
        (["generation.beams=2"], "generation.beams=2 is not read by generation.method=refine"),
        (["generation.refine.steps=2000000"], "must be less than or equal to 10000"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(workdir, command, settings, message):
    ended = command(generate.main, "--workdir", workdir, "--prompt", "word1 ___", *settings)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.splitlines()[-1].startswith("error: ")
    assert message in ended.err.splitlines()[-1]
