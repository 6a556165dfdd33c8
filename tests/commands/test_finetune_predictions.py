"""What only decides what is done with predictions may change after a fine-tuning: it is predicted anew, not trained."""

import json

from command_runs import contents

from electra_jax import train


def _questions(path):
    """SQuAD 2's format: who watches whom, and one question without an answer."""
    paragraphs = []
    for number, (who, what) in enumerate(
        [("the cat", "a bird"), ("my sister", "the old boat"), ("a sailor", "the sea")]
    ):
        context = f"{who} watches {what} all day."
        answer = {"text": what, "answer_start": context.index(what)}
        questions = [
            {"id": f"{number}-what", "question": "watches what?", "answers": [answer]},
            {"id": f"{number}-why", "question": "and why?", "answers": [], "is_impossible": True},
        ]
        paragraphs.append({"context": context, "qas": questions})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    return path


def _n_best(predictions):
    return [json.loads(line)["n_best"] for line in predictions.read_text().splitlines()]


def test_other_number_of_answers_is_predicted_anew_and_not_trained(finished, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    file = _questions(tmp_path / "questions.json")
    task = (
        f"{{kind: question_answering, train: {file}, dev: {file}, answerable: true, max_question_tokens: 5, "
        "stride: 4}"
    )

    def tune(*more):
        arguments = [
            *("--config", "finetune/recipe", "--workdir", "tuned"),
            *(f"init_from={finished / 'work'}", f"finetune.tasks.mine={task}", "finetune.epochs=1"),
            *("train.batch_size=8", "data.sequence_length=16", *more),
        ]
        assert train.main(arguments) == 0
        return capfd.readouterr().err

    predictions = tmp_path / "tuned" / "seed-0" / "predictions" / "mine.dev.jsonl"
    tune()
    before = _n_best(predictions)
    assert max(len(answers) for answers in before) > 2
    checkpoints = contents(tmp_path / "tuned" / "seed-0" / "checkpoints")
    metrics = (tmp_path / "tuned" / "seed-0" / "metrics.jsonl").read_bytes()

    said = tune("finetune.tasks.mine.n_best=2")
    assert "seed 0 is predicted and scored anew: finetune.tasks.mine.n_best: 20 -> 2" in said
    assert [[a["answer"] for a in answers] for answers in _n_best(predictions)] == [
        [a["answer"] for a in answers[:2]] for answers in before
    ]
    assert contents(tmp_path / "tuned" / "seed-0" / "checkpoints") == checkpoints
    assert (tmp_path / "tuned" / "seed-0" / "metrics.jsonl").read_bytes() == metrics

    written = contents(tmp_path / "tuned")
    assert "anew" not in tune("finetune.tasks.mine.n_best=2")
    assert contents(tmp_path / "tuned") == written
