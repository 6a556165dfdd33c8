"""The comparison of what is kept when gaps are filled: its gaps, its figures, and what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from small_run import small_config

from benchmarks import refine
from electra_jax.errors import UserError
from electra_jax.inference.refining import RefinedRow

ROWS = np.arange(5, 5 + 6 * 22, dtype=np.int32).reshape(6, 22)
TOKENIZER = SimpleNamespace(mask_id=4, cls_id=2, sep_id=3, encode=lambda text: [9] * len(text.split()))


@pytest.fixture
def pair(monkeypatch):
    """A model that restores the first half of the gaps, and writes token 99 at the others."""

    def refine_rows(model, rows, settings, *, seed, draft):
        assert not draft
        found = []
        for number, (ids, where) in enumerate(zip(rows.ids, rows.may_change, strict=True)):
            assert (ids[where] == 4).all()
            gaps = np.flatnonzero(where)
            ids = ROWS[number].copy()
            ids[gaps[len(gaps) // 2 :]] = 99
            found.append(RefinedRow(ids, np.zeros(len(ids)), np.array([-9.0, np.log(0.5)])))
        return found

    model = SimpleNamespace(tokenizer=TOKENIZER, config=small_config(), max_length=64)
    monkeypatch.setattr(refine, "refine_rows", refine_rows)
    monkeypatch.setattr(refine, "load", lambda path: model)
    monkeypatch.setattr(refine, "check_is_pair", lambda model: None)
    return model


def test_each_row_has_as_many_gaps_and_never_at_its_ends():
    gapped = refine.with_gaps(ROWS, 0.3, 4, seed=1)
    where = np.stack(gapped.may_change)
    assert (where.sum(axis=1) == 6).all()
    assert not where[:, [0, -1]].any()
    np.testing.assert_array_equal(np.stack(gapped.ids), np.where(where, 4, ROWS))
    other = refine.with_gaps(ROWS, 0.3, 4, seed=2)
    assert (where != np.stack(other.may_change)).any()


def test_rows_are_pieces_of_one_document(pair, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a " * 25 + "\n\n" + "b " * 9 + "\n\n" + "c " * 11)
    rows = refine.held_out_rows(pair, str(text), 9, 12)
    assert rows.tolist() == [[2, *[9] * 10, 3]] * 3
    with pytest.raises(UserError, match="has no document of 38 tokens"):
        refine.held_out_rows(pair, str(text), 9, 40)


def test_the_table_and_what_it_was_made_of(pair, monkeypatch, capsys):
    monkeypatch.setattr(refine, "held_out_rows", lambda *_: ROWS)
    assert (
        refine.main(["--workdir", "x", "--text", "y", "--steps", "4", "--temperatures", "0", "--seeds", "2"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    made_of = json.loads(lines[-1])
    assert [way["kept"] for way in made_of["ways"]] == [
        "once",
        "discriminator",
        "discriminator > .5",
        "confidence",
        "random",
    ]
    for way in made_of["ways"]:
        assert way["original"] == pytest.approx(0.5)
        assert len(way["runs"]) == 2
        assert 0.5 <= way["recovered"] < 0.6  # one of the ids is 99 by itself
    assert refine.entropy(np.array([1, 1, 2, 3])) == pytest.approx(1.5)
    with pytest.raises(UserError, match="--length must be from 3 to 64"):
        refine.main(["--workdir", "x", "--text", "y", "--length", "65"])
