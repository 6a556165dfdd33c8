"""Reading compiled programs: types, operands, and how often loops turn."""

import jax
import jax.numpy as jnp
import pytest

from electra_jax.planning.hlo import executed, parse_hlo, trip_count

# Cut from a step compiled for a v5e: the loop over 12 layers, with its condition as TPU programs have it.
TPU_LOOP = """
HloModule jit_train_step, is_scheduled=true, num_partitions=4

%region_29.40 (param.1: (s32[], bf16[12,96,96])) -> (s32[], bf16[12,96,96]) {
  %param.1 = (s32[]{:T(128)}, bf16[12,96,96]{2,1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %get-tuple-element.1 = s32[]{:T(128)} get-tuple-element(%param.1), index=0
  %get-tuple-element.2 = bf16[12,96,96]{2,1,0:T(8,128)(2,1)S(1)} get-tuple-element(%param.1), index=1
  %constant.1 = s32[]{:T(128)} constant(1)
  %add.1 = s32[]{:T(128)} add(%get-tuple-element.1, %constant.1)
  ROOT %tuple.1 = (s32[]{:T(128)}, bf16[12,96,96]{2,1,0:T(8,128)(2,1)S(1)}) tuple(%add.1, %get-tuple-element.2)
}

%region_36.41 (param.2: (s32[], bf16[12,96,96])) -> pred[] {
  %constant.847 = s32[]{:T(128)} constant(12)
  %param.2 = (s32[]{:T(128)}, bf16[12,96,96]{2,1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %get-tuple-element.3253 = s32[]{:T(128)} get-tuple-element(%param.2), index=0
  ROOT %lt.241 = pred[]{:T(512)} compare(%get-tuple-element.3253, %constant.847), direction=LT, metadata={op_name="lt"}
}

ENTRY %main.1_spmd (param: bf16[12,96,96]) -> bf16[12,96,96] {
  %param = bf16[12,96,96]{2,1,0:T(8,128)(2,1)} parameter(0)
  %constant.2 = s32[]{:T(128)} constant(0)
  %tuple.2 = (s32[]{:T(128)}, /*index=1*/bf16[12,96,96]{2,1,0:T(8,128)(2,1)}) tuple(%constant.2, %param)
  %while.12 = (s32[]{:T(128)}, bf16[12,96,96]{2,1,0:T(8,128)(2,1)}) while(%tuple.2), condition=%region_36.41, \
body=%region_29.40, metadata={op_name="jit(train_step)/encoder/while" stack_frame_id=289}
  ROOT %get-tuple-element.3 = bf16[12,96,96]{2,1,0:T(8,128)(2,1)} get-tuple-element(%while.12), index=1
}
""".replace("\\\n", "")


def test_types_layouts_and_memory_spaces_are_read():
    module = parse_hlo(TPU_LOOP)
    assert module.entry == "main.1_spmd"
    loop = module.computations["region_29.40"].instructions["get-tuple-element.2"]
    assert (loop.arrays[0].dtype, loop.arrays[0].shape, loop.arrays[0].space) == ("bf16", (12, 96, 96), 1)
    assert loop.bytes == 12 * 96 * 96 * 2
    assert module.computations["main.1_spmd"].instructions["tuple.2"].operands == ("constant.2", "param")
    assert module.computations["region_29.40"].root.name == "tuple.1"


def test_turns_of_a_loop_are_the_constant_that_its_condition_compares_with():
    module = parse_hlo(TPU_LOOP)
    assert trip_count(module, module.computations["main.1_spmd"].instructions["while.12"]) == 12
    times = {step.instruction.name: step.times for step in executed(module)}
    assert times["add.1"] == 12
    assert times["while.12"] == 1


def test_loop_without_such_a_constant_turns_once_and_is_not_certain():
    module = parse_hlo(TPU_LOOP.replace("constant(12)", "parameter(1)"))
    steps = {step.instruction.name: step for step in executed(module)}
    assert (steps["add.1"].times, steps["add.1"].certain) == (1, False)


def test_noted_number_of_turns_wins():
    noted = TPU_LOOP.replace(
        "stack_frame_id=289}", 'stack_frame_id=289}, backend_config={"known_trip_count":{"n":"7"}}'
    )
    module = parse_hlo(noted)
    assert trip_count(module, module.computations["main.1_spmd"].instructions["while.12"]) == 7


@pytest.mark.parametrize("length", [3, 11])
def test_scan_that_jax_compiles_here_turns_as_often_as_it_is_long(length):
    def scanned(x):
        return jax.lax.scan(lambda c, _: (jnp.sin(c @ c), None), x, None, length=length)[0]

    text = jax.jit(scanned).lower(jnp.ones((8, 8))).compile().as_text()
    dots = [step for step in executed(parse_hlo(text)) if step.instruction.opcode in ("dot", "custom-call")]
    assert {step.times for step in dots} == {length}
    assert all(step.certain for step in dots)
