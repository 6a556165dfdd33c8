"""Each kind of task has the keys that it reads; those of another kind are errors that say whose they are."""

import pytest

from electra_jax.config import Config, dump_config, load_config
from electra_jax.config.keys import entry_keys
from electra_jax.config.loading import validate, with_overrides
from electra_jax.config.tasks import BENCHMARK_KINDS
from electra_jax.errors import UserError
from electra_jax.tasks.build import KINDS
from electra_jax.tasks.sources import BENCHMARKS
from electra_jax.tasks.sources.own_files import FORMATS

MINE, RTE = "finetune.tasks.mine", "finetune.tasks.rte"


def _tasks(*overrides):
    return with_overrides({"objective": {"kind": "finetune"}}, overrides, "here").finetune.tasks


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((f"{RTE}.n_best=5",), f"{RTE}.n_best: it belongs to {RTE}.kind=question_answering, not to classification"),
        ((f"{RTE}.nbest=5",), f"did you mean {RTE}.n_best, which belongs to {RTE}.kind=question_answering?"),
        ((f"{RTE}.lable=x",), f"{RTE}.lable; did you mean {RTE}.label?"),
        ((f"{RTE}.zzz=x",), f"{RTE}.zzz; python -m electra_jax.config lists them all"),
        (
            (f"{MINE}.kind=regression", f"{MINE}.labels=[a]"),
            f"{MINE}.labels: it belongs to {MINE}.kind=classification|tagging, not to regression; did you mean "
            f"{MINE}.label?",
        ),
        (
            (f"{MINE}={{kind: tagging, pair: b}}",),
            f"{MINE}.pair: it belongs to {MINE}.kind=classification|regression, not to tagging",
        ),
        (("finetune.tasks.squad.multi_label=true",), ".tasks.squad.kind=classification, not to question_answering"),
        ((f"{MINE}={{kind: sorting}}",), f"{MINE}.kind is 'sorting', but must be one of 'classification', "),
        ((f"{MINE}={{}}",), "the kind of mine is not set, and 'mine' is no benchmark: set finetune.tasks.mine.kind"),
        (("finetune.tasks.RTE={}",), "'RTE' is no benchmark (did you mean rte?)"),
        ((f"{MINE}=5",), f"{MINE} is 5, but is a section, which holds keys such as {MINE}.kind"),
        (("finetune.tasks.squad.beam=0",), "finetune.tasks.squad.beam is 0, but must be greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_key_of_another_kind_or_of_none_is_one_sentence(overrides, message):
    with pytest.raises(UserError) as caught:
        _tasks(*overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_kind_follows_from_a_benchmarks_name_and_is_written_down():
    assert {name: benchmark.kind for name, benchmark in BENCHMARKS.items()} == BENCHMARK_KINDS
    tasks = _tasks(
        "finetune.tasks.squad.n_best=3",
        "finetune.tasks.ner={kind: null}",
        "finetune.tasks.rte.kind=regression",
    )
    assert {name: task.kind for name, task in tasks.items()} == {
        "squad": "question_answering",
        "ner": "tagging",
        "rte": "regression",
    }
    assert next(iter(tasks["ner"].model_dump())) == "kind"


@pytest.mark.parametrize("name", ["finetune/squad", "finetune/squad2"])
def test_questions_with_the_head_of_hugging_face_may_say_what_it_has(name, tmp_path):
    """No classifier, and ends that know nothing of the start, which is what false says; true is the default."""
    huggingface = "finetune.head_style=huggingface"
    task = name.partition("/")[2]
    keys = [f"finetune.tasks.{task}.{key}" for key in ("joint", "answerable")]
    config = load_config(name, (huggingface, *(f"{key}=false" for key in keys)))
    assert not config.finetune.tasks[task].joint
    assert not config.finetune.tasks[task].answerable
    (tmp_path / "config.yaml").write_text(dump_config(load_config(name, (huggingface,))))
    assert load_config(tmp_path / "config.yaml").finetune.tasks[task].joint  # of every run that is saved


def test_every_kind_has_a_section_a_task_and_formats():
    (kind,) = (key for key in entry_keys() if key.name.endswith(".kind"))
    assert set(kind.kinds) == set(KINDS) == set(FORMATS)


EARLIER = """\
seed: 0
init_from: runs/mine
data: {sequence_length: 128}
tokenizer: {vocab_size: 300}
model: {}
generator: {size_fraction: 0.5, layers_fraction: 1.0, sharing: embeddings}
objective: {kind: finetune}
finetune:
  tasks:
    rte: &all {kind: null, data: glue, train: null, dev: null, test: null, id: null, text: null, pair: null,
      label: null, labels: null, multi_label: false, label_separator: null, threshold: null, metric: null,
      positive: null, scheme: null, swap_pairs: null, weight: null, joint: true, answerable: true, beam: 20,
      n_best: 7, max_question_tokens: 64, max_answer_tokens: 30, stride: 128}
    squad2: *all
  epochs: 2.0
optimizer: {kind: electra_adam, learning_rate: 0.0001, schedule: linear, warmup_steps: 10000, decay_fraction: 0.1,
  weight_decay: 0.01, layer_decay: 0.8, beta1: 0.9, beta2: 0.999, epsilon: 1.0e-06, clip_norm: 1.0}
train: {batch_size: 32, steps: 1, eval_every: 10000, eval_batches: 3, keep_checkpoints: 2, show_examples: 4}
compute: {}
mesh: {}
hosts: {}
"""


def test_a_file_of_an_earlier_version_in_which_every_task_had_every_key_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(EARLIER)
    tasks = load_config(path).finetune.tasks
    assert (tasks["rte"].kind, tasks["rte"].data) == ("classification", "glue")
    assert (tasks["squad2"].kind, tasks["squad2"].n_best) == ("question_answering", 7)
    values = {**Config().model_dump(), "objective": {"kind": "finetune"}}
    values["finetune"]["tasks"] = {
        "rte": {"kind": None, "n_best": 7, "metric": "f1"}
    }  # as a checkpoint has it
    assert validate(values, "here").finetune.tasks["rte"].metric == "f1"
    with pytest.raises(
        UserError, match="n_best: it belongs to"
    ):  # what is set beside it is held to what it says
        load_config(path, ["finetune.tasks.rte.n_best=5"])
    path.write_text("objective: {kind: finetune}\nfinetune: {tasks: {rte: {n_best: 7}}}\n")
    with pytest.raises(UserError, match="n_best: it belongs to"):  # and so is a file by hand
        load_config(path)
