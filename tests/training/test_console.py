"""What a user watches while a run goes on."""

import io
import math

import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.objectives import build_objective
from electra_jax.training.logs import Console, duration


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_file_gets_whole_lines_with_what_is_left():
    out = io.StringIO()
    console = Console(start=0, steps=30, tokens_before=lambda step: 64 * step, stream=out)
    console.metrics(10, {"loss": 1.5, "disc_auc": 0.61, "tokens_per_second": 12345.0}, seconds_per_step=4.0)
    console.metrics(20, {"loss": 1.25, "disc_auc": None, "tokens_per_second": None}, math.nan)
    console.close()
    assert out.getvalue().splitlines() == [
        "step 10/30, loss 1.500, disc_auc 0.610, 12,345 tokens/s, 1:20 left",
        "step 20/30, loss 1.250, ? tokens/s, ? left",
    ]


def test_what_is_left_counts_batches_that_grow():
    out = io.StringIO()
    # 20 batches of 64 tokens, then 10 of 128: 10 are left, each as long again as the last.
    console = Console(
        start=0, steps=30, tokens_before=lambda step: 64 * step + 64 * max(0, step - 20), stream=out
    )
    console.metrics(20, {"loss": 1.5, "tokens_per_second": 1.0}, seconds_per_step=4.0)
    assert out.getvalue().splitlines()[-1].endswith("1:20 left")


def test_a_terminal_gets_one_live_line():
    out = _Terminal()
    console = Console(start=2, steps=4, tokens_before=lambda step: 64 * step, stream=out)
    for loss in (3.25, 2.125):
        console.step(loss)
    console.close()
    last = out.getvalue().split("\r")[-1]
    for part in ("4/4", "loss 2.125", "tokens/s"):
        assert part in last
    assert "nan" not in out.getvalue()


def test_all_original_is_explained_once():
    out = io.StringIO()
    console = Console(start=0, steps=30, tokens_before=lambda step: 64 * step, stream=out)
    for step, recall in ((10, 0.3), (20, 0.001), (30, 0.0)):
        console.metrics(step, {"disc_recall": recall}, 1.0)
    assert out.getvalue().count("calls every token original") == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3661, "1:01:01"), (math.inf, "?"), (math.nan, "?")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_what_an_accuracy_is_compared_with():
    # Of 100 chosen tokens 80 are masked, of which 10 % are the commonest; the other 20 can be copied.
    config = small_config(objective={"kind": "electra", "mask_token_probability": 0.8})
    line = build_objective(config, SmallVocabulary()).baselines(0.1)
    assert "0.1000 for always" in line
    assert "0.2800 for that and copying" in line


def test_electric_copies_nothing():
    """Its generator never sees the token it predicts, and nothing is masked."""
    line = build_objective(small_config(objective={"kind": "electric"}), SmallVocabulary()).baselines(0.1)
    assert line.endswith("0.1000 for always guessing the commonest token")
