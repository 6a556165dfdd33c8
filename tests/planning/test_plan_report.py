"""Plans of a small run for the eight devices here: bytes, FLOPs, collectives, and how they are said."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config
from test_plan_collectives import TPU_SLICES

from electra_jax.config.text import TokenizerConfig
from electra_jax.objectives import build_objective
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.planning import report
from electra_jax.planning.collectives import Collective
from electra_jax.planning.compiling import CompiledStep, parse_out_of_memory, temporaries, tokenizer_for_plan
from electra_jax.planning.machine import local_machine, shape_of
from electra_jax.planning.products import product_flops
from electra_jax.planning.report import Plan, format_plan, make_plan
from electra_jax.planning.roofline import Roofline, StepCost
from electra_jax.runtime.chips import CHIPS, TPU_CHIPS
from electra_jax.training.flops import train_step_flops
from electra_jax.training.program import build_program

VOCABULARY = 300


@pytest.fixture(scope="module")
def config():
    return small_config(
        tokenizer={"vocab_size": VOCABULARY},
        mesh={"data": 4, "fsdp": 2},
        model={"num_layers": 3},
        compute={"scan_layers": True},
    )


@pytest.fixture(scope="module")
def plan(config):
    return make_plan(config, local_machine())


def test_the_network_of_the_tpus_that_are_here_is_where_they_stand():
    devices = [SimpleNamespace(coords=(x, y, 0)) for x in range(4) for y in range(2)]
    assert shape_of(devices, TPU_CHIPS["v5e"]) == (4, 2)
    assert shape_of(devices, TPU_CHIPS["v4"]) == (4, 2, 1)
    assert TPU_CHIPS["v5e"].outgoing_bandwidth((4, 2)) == pytest.approx(3 / 4 * 200e9)
    gpu = next(chip for chip in CHIPS if not chip.torus_axes)
    assert shape_of(jax.devices(), gpu) == ()


def test_bytes_are_those_that_a_device_holds(plan, config):
    program = build_program(config, tokenizer_for_plan(config.tokenizer), make_mesh(config.mesh))
    state = jax.tree.map(lambda s: jax.device_put(jnp.zeros(s.shape, s.dtype), s.sharding), program.abstract)
    first = jax.devices()[0]

    def held(tree):
        shards = [s for leaf in jax.tree.leaves(tree) for s in leaf.addressable_shards]
        return sum(shard.data.nbytes for shard in shards if shard.device == first)

    assert plan.memory["parameters"] == held(state.params)
    assert plan.memory["optimizer"] == held(state.opt_state)
    assert plan.memory["other state"] == held((state.step, state.metric_sums))
    assert plan.memory["batch"] == 8 * 16 * 4 // 8
    assert plan.memory["temporaries"] > plan.memory["parameters"]  # at least the gradients


def test_temporaries_are_those_that_the_compiler_compares_with_the_memory_there_is():
    # A step of large on 256 v5e with 15.75 GiB each, as libtpu counts it.
    counted = SimpleNamespace(
        argument_size_in_bytes=541922816,
        output_size_in_bytes=541911040,
        alias_size_in_bytes=541906432,
        peak_memory_in_bytes=14871836160,
        temp_size_in_bytes=17274564608,
    )
    assert temporaries(counted, "tpu") == 14871836160 - 541922816
    assert temporaries(counted, "cpu") == 17274564608 + 541911040 - 541906432
    counted.peak_memory_in_bytes = 0  # not known
    assert temporaries(counted, "tpu") == temporaries(counted, "cpu")


def test_flops_are_the_models_own_and_those_that_are_recomputed(plan, config):
    objective = build_objective(config, tokenizer_for_plan(config.tokenizer))
    rows, length = config.train.batch_size, config.data.sequence_length
    assert plan.model_flops == train_step_flops(objective, rows, length)
    # The logits of rows that only round the vocabulary up are computed, and are no work of the model's.
    assert plan.model_flops <= plan.hardware_flops <= 1.05 * plan.model_flops
    full = small_config(**{**config.model_dump(), "compute": {"scan_layers": True, "remat": "full"}})
    program = build_program(full, tokenizer_for_plan(full.tokenizer), make_mesh(full.mesh))
    with program.on_mesh():
        traced = program.train_step.trace(program.abstract, np.zeros((8, 16), np.int32))
    recomputed = product_flops(traced.jaxpr.jaxpr) / plan.hardware_flops
    assert 1.2 < recomputed < 4 / 3  # a third more, but for the heads


def test_gradients_are_summed_over_the_scanned_layers_too(plan):
    reduced = [one for one in plan.collectives if one.kind in ("all-reduce", "reduce-scatter")]
    full = sum(one.times * one.full_bytes for one in reduced)
    assert full >= 0.8 * 2 * plan.memory["parameters"]  # fsdp=2 cuts all in two but the small ones
    assert plan.work.sent_bytes == pytest.approx(sum(one.sent_bytes for one in plan.collectives))


def test_json_holds_what_the_page_says(plan):
    values = json.loads(json.dumps(plan.as_json()))
    assert values["fits"] is True
    assert values["mesh"] == {"data": 4, "fsdp": 2, "tensor": 1}
    assert values["memory"]["parameters"] == plan.memory["parameters"]
    page = format_plan(plan)
    assert "8 devices, mesh data 4, fsdp 2, tensor 1" in page
    assert "no figures are published for these devices" in page
    assert values["times"] is None


def test_flops_agree_with_the_compilers_count_of_an_unrolled_step():
    config = small_config(
        data={"sequence_length": 64},
        model={
            "hidden_size": 256, "num_heads": 4, "embedding_size": 256, "max_positions": 64, "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
        },
    )  # fmt: skip
    program = build_program(config, SmallVocabulary(), make_mesh(config.mesh))
    with program.on_mesh():
        lowered = program.train_step.lower(program.abstract, np.zeros((8, 64), np.int32))
    counted = lowered.cost_analysis()["flops"]  # everything: sums, exponentials and the optimizer too
    ours = train_step_flops(program.objective, 8, 64)
    assert 1.0 < counted / ours < 1.05


A_PLAN = Plan(
    machine="v5e:2x4",
    devices=8,
    chip="v5e",
    mesh={"data": 8, "fsdp": 1, "tensor": 1},
    batch_size=1024,
    microbatches=2,
    length=128,
    steps=36_000,
    memory={"parameters": 1e9, "optimizer": 2e9, "temporaries": 3e9, "program": None},
    capacity=16e9,
    why_not=None,
    model_flops=8 * 197e12 * 0.1,
    hardware_flops=8 * 197e12 * 0.1,
    work=StepCost(1.0, 2e9, 3e6),
    collectives=[Collective("all-gather", 1e6, 8, 12, "bf16[10]", "")],
    times=Roofline(compute=0.1, memory=0.2, network=0.2),
    peak_flops=197e12,
    compile_seconds=60.0,
    assumptions=["one"],
)


def test_rates_of_a_step():
    assert A_PLAN.rates(0.5) == pytest.approx(
        {
            "seconds_a_step": 0.5,
            "tokens_per_second": 2 * 1024 * 128,
            "model_flops_utilization": 0.2,
            "hours": 5.0,
            "chip_hours": 40.0,
        }
    )


def test_page_of_a_plan():
    page = format_plan(A_PLAN)
    for words in [
        "64 rows a device each",
        "6.00 GB of 16.00 GB",
        "200.00 ms     500.00 ms",
        "50.0%         20.0%",
        "12 x    8.00 MB over   8",
        "- one",
    ]:
        assert words in page, page


def test_what_goes_to_other_slices_has_lines_and_a_time_of_its_own():
    within = Collective("all-reduce", 8e6, 8, 12, "f32[1]", "")
    between = Collective("all-reduce", 1e6, 2, 3, "f32[2]", "", between_slices=True)
    page = format_plan(
        replace(
            A_PLAN,
            work=StepCost(1e12, 1e9, within.sent_bytes, between.sent_bytes),
            collectives=[within, between],
            times=Roofline(0.2, 0.1, 0.1, 0.3),
        )
    )
    assert "bytes sent a device        168.00 MB in 12 collectives:" in page
    assert "to other slices              3.00 MB in 3 collectives:" in page
    assert "between slices 300.00 ms: bound by network between slices" in page
    assert "other slices" not in format_plan(A_PLAN)


@pytest.mark.parametrize(("chip", "bandwidth"), [("v5e", 3.125e9), ("v4", None)])
def test_what_is_sent_within_and_between_slices_is_counted_once(monkeypatch, config, chip, bandwidth):
    """A program for two slices in place of a compilation."""
    compiled = CompiledStep(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, temporaries=7.0, text=TPU_SLICES)
    monkeypatch.setattr(report, "compile_step", lambda *_: compiled)
    monkeypatch.setattr(report, "peak_flops", lambda device: 1e14)
    made = make_plan(config, replace(local_machine(), chip=TPU_CHIPS[chip], shape=(2, 2), slices=2))
    piece = 64 * 256 * 4
    within = 3 / 4 * 4 * piece + 3 * piece  # scattered, then gathered
    between = 2 * 3 / 4 * piece + 32 * 256 * 4  # summed by the four that the program names; gathered by both
    assert (made.work.sent_bytes, made.work.slices_bytes) == (within, between)
    assert made.times.slices == (between / bandwidth if bandwidth else 0.0)
    said = any("WHAT IS SENT BETWEEN SLICES TAKES NO TIME BELOW" in line for line in made.assumptions)
    assert said is (bandwidth is None)


def test_what_does_not_fit_is_a_plan_too(monkeypatch, config):
    """The compiler's error in place of a compilation."""
    message = (
        "Ran out of memory on HBM, the total memory required for HLO temporaries (65.47G) exceeds available"
    )
    failed = CompiledStep(
        1.0, 2.0, 3.0, 4.0, 5.0, 6.0, temporaries=65e9, available=15e9, out_of_memory=message
    )
    monkeypatch.setattr(report, "compile_step", lambda *_: failed)
    made = make_plan(config, replace(local_machine(), chip=TPU_CHIPS["v5e"]))
    assert not made.fits
    assert made.capacity == 15e9
    assert f"DOES NOT FIT: {message}" in format_plan(made)
    assert json.loads(json.dumps(made.as_json()))["fits"] is False


H100 = next(chip for chip in CHIPS if chip.name == "H100")
# As XLA compiles it for GPUs, with no more than a warning.
TOO_LARGE = CompiledStep(
    1e9, 1e9, 0.5e9, 0.5e9, 5.0, 6.0, temporaries=500e9, text_error="UNIMPLEMENTED", bytes_accessed=8.0
)


def machine_of(platform, chip):
    """Devices of another platform, of which nothing is asked but what they are."""
    kind = "NVIDIA H100 80GB HBM3" if chip is H100 else "TPU v5e"
    device = SimpleNamespace(platform=platform, device_kind=kind, memory_stats=lambda: None)
    return replace(local_machine(), devices=(device,), chip=chip, shape=())


@pytest.fixture
def too_large(monkeypatch):
    """A step that needs 503 GB, compiled in a mesh of the devices here."""
    mesh = make_mesh(small_config().mesh)
    monkeypatch.setattr(report, "make_mesh", lambda *_: mesh)
    monkeypatch.setattr(report, "compile_step", lambda *_: TOO_LARGE)


def test_what_compilers_for_gpus_compile_and_no_gpu_holds_does_not_fit(too_large, config):
    made = make_plan(config, machine_of("gpu", H100))
    assert not made.fits
    assert (made.work, made.collectives, made.times, made.assumptions) == (None, None, None, [])
    page = format_plan(made)
    assert "DOES NOT FIT: the step needs 503.00 GB on each device, which has 80.00 GB" in page
    assert "503.00 GB of 80.00 GB" in page
    assert json.loads(json.dumps(made.as_json()))["fits"] is False


def test_what_the_compiler_for_tpus_took_fits(too_large, config):
    made = make_plan(config, machine_of("tpu", TPU_CHIPS["v5e"]))
    assert made.fits
    assert "\nfits\n" in format_plan(made)


def test_memory_that_is_not_known_is_said_to_be_so(plan):
    page = format_plan(plan)
    assert "\ncompiled; the memory of this device is not known\n" in page
    assert "fits" not in page


@pytest.mark.parametrize(
    ("message", "needed", "available"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (65.47G) "
            "exceeds available HBM (15.75G).",
            65.47 * 2**30,
            15.75 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 45.70G "
            "of 15.75G hbm. Exceeded hbm capacity by 29.95G.\n\nTotal hbm usage >= 46.20G:\n",
            45.70 * 2**30,
            15.75 * 2**30,
        ),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes.", None, None),
    ],
)
def test_out_of_memory_is_read(message, needed, available):
    found = parse_out_of_memory(message)
    assert (found.needed, found.available) == (needed, available)
    assert "memory" in found.message
    assert not found.message.startswith("RESOURCE")


def test_other_compile_errors_are_not_about_memory():
    assert parse_out_of_memory("INTERNAL: Mosaic failed to compile") is None


def test_program_that_cannot_be_printed_has_no_collectives_and_says_so(monkeypatch, config):
    compiled = CompiledStep(
        1.0, 2.0, 3.0, 4.0, 5.0, 6.0, temporaries=7.0, text_error="UNIMPLEMENTED", bytes_accessed=8.0
    )
    monkeypatch.setattr(report, "compile_step", lambda *_: compiled)
    made = make_plan(config, local_machine())
    assert made.collectives is None
    assert made.work.memory_bytes == 8.0
    assert "cannot be printed for this chip (UNIMPLEMENTED)" in format_plan(made)


def test_characters_that_are_not_counted_yet_are_an_alphabets():
    assert tokenizer_for_plan(TokenizerConfig(kind="characters")).vocab_size == 128
    assert tokenizer_for_plan(TokenizerConfig(kind="characters", vocab_size=70)).vocab_size == 70
