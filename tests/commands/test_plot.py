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


@pytest.fixture
def pictures(monkeypatch):
    """The figures that are drawn, with their panels and legends."""
    figure = pytest.importorskip("matplotlib.figure")
    drawn = []

    class Remembered(figure.Figure):
        def savefig(self, *args, **kwargs):
            drawn.append(self)
            super().savefig(*args, **kwargs)

    monkeypatch.setattr(figure, "Figure", Remembered)
    return drawn


def _legend(picture):
    (legend,) = picture.legends
    lines = zip(legend.get_texts(), legend.get_lines(), strict=True)
    return {text.get_text(): line.get_color() for text, line in lines}


def test_a_split_of_a_run_has_one_colour_in_all_panels(tmp_path, pictures):
    """`disc_auc` lacks the splits that come before others in the panel of the loss."""
    only_loss = _run(tmp_path / "only_loss", [{"step": 1, "split": "train", "loss": 1.0}])
    both = _run(tmp_path / "both", [{"step": 1, "split": "train", "loss": 2.0, "disc_auc": 0.6}])
    plot.main([str(only_loss), str(both)])
    loss, auc = pictures[0].axes
    assert [line.get_ydata()[0] for line in (*loss.lines, *auc.lines)] == [1.0, 2.0, 0.6]
    first, second, same = (line.get_color() for line in (*loss.lines, *auc.lines))
    assert first != second == same
    assert _legend(pictures[0]) == {"only_loss: train": first, "both: train": second}


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _run(tmp_path / folder / "work", LINES[:1])
    _run(tmp_path / "other", LINES[:1])
    plot.main(["a/work", "b/work", "other", "a/work"])
    assert [*_legend(pictures[0])] == ["a/work: train", "b/work: train", "other: train"]


@pytest.mark.parametrize("name", ["_hidden", "$\\frac$", "costs 5$", "a_$b_$"])
def test_any_name_is_in_the_legend_as_it_is(tmp_path, pictures, name):
    folders = [
        str(_run(tmp_path / some, [{"step": 1, "split": "train", "$\\frac$": 1.0}])) for some in (name, "x")
    ]
    assert plot.main([*folders, "--metric", "$\\frac$", "--out", str(tmp_path / "a.svg")]) == 0
    assert [*_legend(pictures[0])] == [f"{name}: train", "x: train"]
    assert f"<!-- {name}: train" in (tmp_path / "a.svg").read_text()


def test_a_run_with_none_of_the_usual_metrics_shows_what_it_has(tmp_path, pictures):
    folder = _run(tmp_path / "a", [{"step": 6, "split": "pairs", "rtd": 55.0, "pll": 60.0}])
    assert plot.main([str(folder)]) == 0
    assert [panel.get_title() for panel in pictures[0].axes] == ["pll", "rtd"]


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
