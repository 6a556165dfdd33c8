"""Finished fine-tunings on examples of every kind, as far as comparing reads them; nothing is trained."""

import json
import shutil

import numpy as np

from electra_jax.config import dump_config, load_config
from electra_jax.files.json_files import write_json
from electra_jax.tasks.build import build_task, learn_settings
from electra_jax.tasks.results import RESULT, summarize_seeds, write_jsonl
from electra_jax.tasks.settings import write_settings
from electra_jax.tasks.sources import load_examples
from electra_jax.tokenizers import load_tokenizer
from electra_jax.training.seed_selection import RESULTS

COUNT = 12
KINDS = {
    "texts": "{kind: classification, train: texts.csv, dev: texts.csv, test: texts.csv, text: text, label: label, "
    "id: id, metric: f1}",
    "numbers": "{kind: regression, train: numbers.csv, dev: numbers.csv, test: hidden.csv, text: text, label: label}",
    "several": "{kind: classification, multi_label: true, train: several.jsonl, dev: several.jsonl, text: text, "
    "label: label}",
    "tags": "{kind: tagging, train: tags.txt, dev: tags.txt}",
    "written": "{kind: seq2seq, train: written.jsonl, dev: written.jsonl, source: source, target: target, "
    "metric: bleu}",
    "choices": "{kind: multiple_choice, train: choices.jsonl, dev: choices.jsonl}",
    "ranked": "{kind: ranking, train: ranked.jsonl, dev: ranked.jsonl}",
    "questions": "{kind: question_answering, train: questions.json, dev: questions.json}",
}


def write_examples(folder):
    """Twelve examples of each kind."""
    labels = ["yes" if number % 2 else "no" for number in range(COUNT)]
    rows = [f"{number},the cat,{label}" for number, label in enumerate(labels)]
    (folder / "texts.csv").write_text("\n".join(["id,text,label", *rows]) + "\n")
    (folder / "numbers.csv").write_text(
        "\n".join(["text,label", *(f"cat,{n}.5" for n in range(COUNT))]) + "\n"
    )
    (folder / "hidden.csv").write_text("text\ncat\n")
    several = [{"text": "cat", "label": ["x"] if number % 2 else ["x", "y"]} for number in range(COUNT)]
    (folder / "several.jsonl").write_text("".join(json.dumps(one) + "\n" for one in several))
    (folder / "tags.txt").write_text("\n\n".join("the O\ncat B-ANIMAL" for _ in range(COUNT)) + "\n")
    written = [{"source": f"katze {n}", "target": f"the cat number {n} sleeps"} for n in range(COUNT)]
    (folder / "written.jsonl").write_text("".join(json.dumps(one) + "\n" for one in written))
    choices = [{"context": "cat", "options": ["a", "b", "c"], "label": n % 3} for n in range(COUNT)]
    (folder / "choices.jsonl").write_text("".join(json.dumps(one) + "\n" for one in choices))
    ranked = [{"context": "cat", "candidates": ["a", "b", "c"], "label": [n % 3]} for n in range(COUNT)]
    (folder / "ranked.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ranked))
    context = "the cat watches a bird"
    questions = [
        {"id": str(n), "question": "who?", "answers": [{"text": "cat", "answer_start": 4}]}
        for n in range(COUNT)
    ]
    paragraphs = [{"context": context, "qas": questions}]
    (folder / "questions.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))


def _prediction(name, example, right):
    """A prediction that is right, or wrong."""
    match name:
        case "texts":
            label = example.label if right else {"yes": "no", "no": "yes"}[example.label]
            return {"id": example.id, "label": label}
        case "numbers":
            value = 0.0 if example.label is None else float(example.label)
            return {"id": example.id, "value": value if right else 3.3 - value}
        case "several":
            has = {"x": 0.9, "y": 0.9 if "y" in example.label else 0.1}
            return {"id": example.id, "probabilities": has if right else {n: 1 - p for n, p in has.items()}}
        case "written":
            return {"id": example.id, "text": example.targets[0] if right else "the cat sleeps"}
        case "choices":
            shares = [0.2, 0.2, 0.2]
            shares[example.answer if right else (example.answer + 1) % 3] = 0.6
            return {"id": example.id, "label": int(np.argmax(shares)), "probabilities": shares}
        case "ranked":
            scores = [0.0, 0.0, 0.0]
            scores[example.relevant[0] if right else (example.relevant[0] + 1) % 3] = 0.6
            return {"id": example.id, "label": int(np.argmax(scores)), "scores": scores}
        case "tags":
            return {"id": example.id, "tags": ["O", "B-ANIMAL" if right else "O"]}
    return {"id": example.id, "answer": "the cat" if right else "bird"}


def write_fine_tuning(root, tokenizer, wrong, names=tuple(KINDS)):
    """A work directory with a seed for each of ``wrong``, which says how many predictions are wrong."""
    sections = [f"finetune.tasks.{name}={KINDS[name]}" for name in names]
    config = load_config("finetune/recipe", [*sections, "init_from=start", "finetune.seeds=2"])
    loaded = load_tokenizer(tokenizer)
    results = []
    for seed, count in wrong.items():
        folder = root / f"seed-{seed}"
        folder.mkdir(parents=True)
        shutil.copytree(tokenizer, folder / "tokenizer")
        (folder / "config.yaml").write_text(dump_config(config.model_copy(update={"seed": seed})))
        settings, scores = {}, {}
        for name in names:
            splits = load_examples(name, config.finetune.tasks[name])
            settings[name], _ = learn_settings(name, config.finetune.tasks[name], splits)
            task = build_task(name, settings[name], config, loaded)
            scores[name] = {}
            for split in [split for split in splits if split != "train"]:
                predictions = [_prediction(name, e, n >= count) for n, e in enumerate(splits[split])]
                write_jsonl(folder / "predictions" / f"{name}.{split}.jsonl", predictions)
                if not splits[split][0].hidden:
                    scores[name][split] = task.score(splits[split], predictions)
        write_settings(folder, settings)
        results.append({"seed": seed, "steps": 1, "scores": scores})
        write_json(folder / RESULT, results[-1])
    (root / "config.yaml").write_text(dump_config(config))
    write_json(root / RESULTS, summarize_seeds("start", config.finetune, results))
