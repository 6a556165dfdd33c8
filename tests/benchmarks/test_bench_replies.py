"""Ways of decoding replies, of a model whose own texts stand for what people said."""

import json
import math

import pytest
from tiny_replier import write_replier

import electra_jax
from benchmarks import replies
from electra_jax.config.generation import GenerationConfig


def test_figures_are_those_of_what_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(replies, "one_device_per_core", lambda: None)
    folder = write_replier(tmp_path / "model", ("writer",))
    model = electra_jax.load(folder)
    said = [a + b for a in "abcd" for b in "efgh"]
    drawn = model.generate([f"- {text}" for text in said], temperature=2.0, n=24, max_new_tokens=6)
    kept = [
        (text, reply)
        for text, several in zip(said, drawn, strict=True)
        for reply in several
        # What is a reply of a conversation, to the letter.
        if reply.finish == "end"
        and reply.text.isalpha()
        and [*model.tokenizer.encode(reply.text), model.tokenizer.sep_id] == [*reply.tokens]
    ]
    assert len(kept) > 2
    path = tmp_path / "said.jsonl"
    lines = [{"turns": [text, reply.text]} for text, reply in kept]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ["--workdir", str(folder), "--input", str(path), "--turns", "1", "--ways", "greedy"]
    assert replies.main(asked) == 0
    people, greedy = map(json.loads, capsys.readouterr().out.splitlines())
    assert (people["way"], greedy["way"]) == ("people", "greedy")
    assert (people["replies"], people["word_f1"], people["length_ratio"]) == (len(kept), 100, 1)
    bits = -sum(sum(reply.log_probs) for _, reply in kept) / math.log(2)
    assert people["bits_per_byte"] == pytest.approx(bits / sum(len(reply.text) for _, reply in kept), 1e-4)
    texts = [reply.text for reply in model.generate([f"- {text}" for text, _ in kept], **replies.PLAIN)]
    assert greedy["words"] == sum(len(text.split()) for text in texts) / len(texts)
    assert greedy["seconds_a_turn"] > 0


def test_the_last_way_is_the_presets():
    preset = electra_jax.config.load_config("dialogue/blender", []).generation
    *_, last = replies.WAYS.values()
    assert GenerationConfig(**last) == preset
