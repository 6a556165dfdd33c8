import json

import pytest

from electra_jax import plot
from electra_jax.errors import UserError
from electra_jax.training.logs import append_metrics_line
from electra_jax.training.workdir import WorkDir


def _run(folder, lines, tail=""):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return folder


LINES = [
    {"step": 10, "split": "train", "loss": 3.0, "disc_auc": 0.5, "model_flops_utilization": None},
    {"step": 20, "split": "train", "loss": 2.0, "disc_auc": 0.6, "model_flops_utilization": None},
    {"step": 20, "split": "eval", "loss": 2.5},
    {"step": 20, "split": "eval", "loss": 2.7, "eval_source": "text:other.txt"},
]


def test_curves_are_what_the_file_says(tmp_path):
    folder = _run(tmp_path / "a", LINES[:1], tail='{"step": 15, "spl')
    for line in LINES[1:]:  # as electra_jax.evaluate does, behind what a run left that was killed
        metrics = {key: value for key, value in line.items() if key not in ("step", "split")}
        append_metrics_line(folder / "metrics.jsonl", line["step"], line["split"], metrics)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "spl')
    assert WorkDir(folder).read_metrics() == LINES
    run = plot.read_run(WorkDir(folder))
    assert run.name == "a"
    assert run.curves == {
        "train": {"loss": [(10, 3.0), (20, 2.0)], "disc_auc": [(10, 0.5), (20, 0.6)]},
        "eval": {"loss": [(20, 2.5)]},
        "eval on text:other.txt": {"loss": [(20, 2.7)]},
    }


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_draws_every_run_into_one_picture(tmp_path, ending, capsys):
    pytest.importorskip("matplotlib")
    folders = [str(_run(tmp_path / name, LINES)) for name in ("first_run", "second_run")]
    out = tmp_path / f"picture.{ending}"
    assert plot.main([*folders, "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    content = out.read_bytes()
    if ending == "png":
        assert content.startswith(b"\x89PNG")
    else:  # text is drawn as shapes, each with the text in a comment
        for text in (b"disc_auc", b"loss", b"first_run: train", b"second_run: eval on text:other.txt"):
            assert b"<!-- " + text in content


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "absent/metrics.jsonl cannot be read"),
        (["empty"], "holds no metrics yet"),
        (["foreign"], "line 1 is not a line of metrics"),
        (["good", "--metric", "disc_acu"], "no run has the metric disc_acu; there are: disc_auc, loss"),
        (["good", "--out", "a.docx"], "--out a.docx: Format 'docx' is not supported"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    _run(tmp_path / "empty", [])
    _run(tmp_path / "foreign", [{"a": 1}, {"b": 2}])
    _run(tmp_path / "good", LINES)
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        plot.main(arguments)
    assert message in str(error.value)


def test_of_a_fine_tuning_a_seed_is_named(tmp_path):
    (tmp_path / "run").mkdir()
    _run(tmp_path / "run" / "seed-1", LINES)
    with pytest.raises(UserError, match=r"give that of a seed, such as .*run/seed-1$"):
        plot.read_run(WorkDir(tmp_path / "run"))
