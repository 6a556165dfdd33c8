"""Which meshes and microbatches are tried, which are not and why, and how they are ranked."""

from dataclasses import replace

import pytest
from small_run import small_config
from test_plan_report import A_PLAN, H100, machine_of, too_large  # noqa: F401 (a fixture)

from electra_jax.errors import UserError
from electra_jax.planning.report import make_plan
from electra_jax.planning.roofline import Roofline, StepCost
from electra_jax.planning.sweep import Candidate, apply, candidates, format_sweep, sweep

CONFIG = small_config(train={"batch_size": 16})


def test_choices_are_all_factorizations_that_split_the_batch():
    found = candidates(16, 8)
    assert found[0] == Candidate(8, 1, 1, 1)  # the simplest first
    for candidate in found:
        assert candidate.data * candidate.fsdp * candidate.tensor == 8
        assert 16 % (candidate.data * candidate.fsdp * candidate.microbatches) == 0
    meshes = {(c.data, c.fsdp, c.tensor) for c in found if c.microbatches == 1}
    assert len(meshes) == 10  # ways to write 8 as an ordered product of three
    assert [c.microbatches for c in found] == sorted(c.microbatches for c in found)


def test_choice_is_applied_and_nothing_else_changes():
    config = apply(CONFIG, Candidate(2, 4, 1, 2))
    assert (config.mesh.data, config.mesh.fsdp, config.mesh.tensor) == (2, 4, 1)
    assert config.train.accumulation_steps == 2
    same = {"mesh": CONFIG.mesh, "train": CONFIG.train}
    assert config.model_copy(update=same) == CONFIG


def _planner(seconds, fits=lambda config: True):
    def plan(config):
        mesh = config.mesh.data, config.mesh.fsdp, config.mesh.tensor
        if mesh == (1, 4, 2):
            raise UserError("the mesh does not divide 36")
        why_not = None if fits(config) else "Ran out of memory"
        return replace(A_PLAN, why_not=why_not, times=Roofline(seconds(config), 0.0, 0.0))

    return plan


def test_fastest_comes_first_and_what_does_not_fit_last():
    swept = sweep(
        CONFIG,
        8,
        _planner(
            lambda config: 1.0 / config.mesh.fsdp + config.train.accumulation_steps,
            fits=lambda config: config.mesh.fsdp > 1 or config.train.accumulation_steps > 1,
        ),
        limit=100,
        report=lambda line: None,
    )
    first = swept.plans[0][0]
    assert (first.fsdp, first.microbatches) == (8, 1)
    assert [plan.fits for _, plan in swept.plans] == sorted((p.fits for _, p in swept.plans), reverse=True)
    # A mesh that did not fit is tried with more microbatches; one that did is not.
    tried = {(c.data, c.fsdp, c.tensor, c.microbatches) for c, _ in swept.plans}
    assert (8, 1, 1, 2) in tried
    assert (1, 8, 1, 2) not in tried
    reasons = {str(candidate): reason for candidate, reason in swept.skipped}
    assert reasons[str(Candidate(1, 8, 1, 2))] == "fits with fewer microbatches"
    assert reasons[str(Candidate(1, 4, 2, 1))] == "the mesh does not divide 36"
    page = format_sweep(swept)
    assert "does not fit" in page.splitlines()[-len(set(reasons.values())) - 1]
    assert "the mesh does not divide 36" in page


@pytest.mark.usefixtures("too_large")
def test_what_is_compiled_beyond_the_memory_of_a_gpu_does_not_count_as_fitting():
    machine = machine_of("gpu", H100)
    swept = sweep(CONFIG, 8, lambda config: make_plan(config, machine), limit=2, report=lambda line: None)
    assert [plan.fits for _, plan in swept.plans] == [False, False]
    assert "fits with fewer microbatches" not in {reason for _, reason in swept.skipped}
    assert format_sweep(swept).count("503.00 GB   does not fit") == 2


def test_no_more_than_the_limit_is_compiled_and_the_rest_is_named():
    said = []
    swept = sweep(CONFIG, 8, _planner(lambda config: 1.0), limit=3, report=said.append)
    assert len(swept.plans) == len(said) == 3
    assert "more than 3 compilations (--limit)" in format_sweep(swept)
    assert len(swept.plans) + len(swept.skipped) == len(candidates(16, 8))


def test_what_goes_to_other_slices_has_a_column_only_where_there_are_some():
    def page(slices_bytes):
        plan = replace(A_PLAN, work=StepCost(1.0, 1.0, 5e6, slices_bytes), collectives=[])
        return format_sweep(sweep(CONFIG, 8, lambda config: plan, limit=1, report=lambda line: None))

    assert "to slices" not in page(0.0)
    assert "5 MB" in page(0.0)
    header, row = page(70e6).splitlines()[:2]
    assert header.index("to slices") + len("to slices") == row.index("70 MB") + len("70 MB")


def test_batch_that_no_mesh_splits_is_a_users_error():
    odd = small_config(train={"batch_size": 9})
    with pytest.raises(UserError, match="cannot be split evenly over 16 devices by any mesh"):
        sweep(odd, 16, _planner(lambda config: 1.0), limit=1, report=print)
