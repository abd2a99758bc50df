"""What carries a change, told of profiles with known times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_energy.gate.carriers import ProfileChange, compared
from pytest_energy.metering.profile import Part, Profile

BASE = Profile(
    clock="device",
    steps=8,
    seconds=100e-6,
    phases=(Part("forward", 40e-6), Part("backward", 50e-6), Part("gaps", 10e-6)),
    operators=(
        Part("aten::mm", 50e-6, 12.0),
        Part("aten::addmm", 20e-6, 6.0),
        Part("flash", 14e-6, 2.0),
        Part("aten::add", 6e-6, 9.0),
    ),
    modules=(Part("layer.*.dense", 60e-6, 2.0), Part("layer.*.attention", 15e-6, 2.0)),
    attention=Part("sdpa flash", 14e-6),
)


def with_time(**seconds: float) -> Profile:
    """The same with other operators' times (µs); what they take more, the whole takes."""
    operators = tuple(
        replace(
            part, seconds=seconds.pop(part.name.removeprefix("aten::"), 1e6 * part.seconds) / 1e6
        )
        for part in BASE.operators
    )
    moved = sum(part.seconds for part in operators) - sum(part.seconds for part in BASE.operators)
    return replace(BASE, operators=operators, seconds=BASE.seconds + moved)


def test_attention_is_named_as_a_whole_where_another_way_costs_it() -> None:
    head = replace(with_time(flash=19.2), attention=Part("sdpa math", 19.2e-6))

    found = compared(BASE, head, 0.06)

    assert found.sentence == (
        "Under the profiler a token takes 5.2 % more time: attention +37.1 % of its time "
        "(sdpa flash -> sdpa math), 5.2 points of it."
    )


def test_an_operator_is_named_with_its_calls_and_where_it_is() -> None:
    head = with_time(mm=60.0)
    operators = (replace(head.operators[0], calls=14.0), *head.operators[1:])
    modules = (Part("layer.*.dense", 69e-6, 2.0), BASE.modules[1])

    found = compared(BASE, replace(head, operators=operators, modules=modules), 0.1)

    assert found.sentence == (
        "Under the profiler a token takes 10.0 % more time: `aten::mm` +20.0 % of its time "
        "(12 -> 14 calls a step), most of it in `layer.*.dense`, 10.0 points of it."
    )


def test_what_is_named_is_not_taken_for_all_of_it() -> None:
    longer = with_time(mm=53.0, addmm=23.0, flash=17.0, add=9.0)
    operators = tuple(replace(part, calls=1.5 * (part.calls or 0)) for part in longer.operators)
    phases = (*BASE.phases[:2], Part("gaps", 15e-6))
    seconds = longer.seconds + 5e-6

    found = compared(
        BASE, replace(longer, operators=operators, phases=phases, seconds=seconds), 0.17
    )

    assert found.sentence == (
        "Under the profiler a token takes 17.0 % more time: the time between operators +50.0 % of "
        "its time, 5.0 points of it; the rest is spread over many operators."
    )


def test_less_time_is_told_alike() -> None:
    found = compared(BASE, with_time(mm=40.0), -0.1)

    assert "10.0 % less time: `aten::mm` -20.0 % of its time, -10.0 points of it." in found.sentence


def test_what_all_operators_moved_is_told_apart_from_one_that_moved_more() -> None:
    head = with_time(mm=52.5, addmm=21.0, flash=14.7, add=16.3)

    found = compared(BASE, head, 0.15)

    assert found.alike == pytest.approx(0.05)
    assert found.sentence == (
        "Under the profiler a token takes 14.5 % more time, all operators +5.0 % alike; beyond "
        "that `aten::add` +158.7 % of its time, 10.0 points of it."
    )


def test_a_machine_that_was_disturbed_hides_no_carrier() -> None:
    disturbed = with_time(mm=40.0, addmm=16.0, flash=15.2, add=4.8)
    head = replace(disturbed, attention=Part("eager", 19.2e-6 * 0.8))

    found = compared(BASE, head, 0.06)

    assert (
        "% less time, all operators -20.0 % alike; beyond that attention +37.1 %" in found.sentence
    )
    assert "(sdpa flash -> eager)" in found.sentence


def test_operators_that_moved_apart_did_not_move_alike() -> None:
    # One that is noise lies in the middle of those that are called as often as before.
    head = with_time(mm=43.0, addmm=8.8, flash=26.0, add=2.6)
    mm, *others = head.operators

    found = compared(BASE, replace(head, operators=(replace(mm, calls=16.0), *others)), 0.053)

    assert found.alike == 0
    assert found.sentence == (
        "Under the profiler a token takes 9.6 % less time: no operator explains the change."
    )


def test_what_moved_all_alike_is_carried_by_none() -> None:
    head = with_time(mm=53.0, addmm=21.2, flash=14.84, add=6.36)
    head = replace(head, seconds=106e-6)

    found = compared(BASE, head, 0.06)

    assert found.sentence == (
        "Under the profiler a token takes 6.0 % more time, all operators +6.0 % alike: no "
        "operator carries it alone."
    )


def test_the_time_between_operators_may_carry_it() -> None:
    phases = (*BASE.phases[:2], Part("gaps", 25e-6))

    found = compared(BASE, replace(BASE, phases=phases, seconds=115e-6), 0.1)

    assert "the time between operators +150.0 % of its time, 15.0 points of it." in found.sentence


@pytest.mark.parametrize("head", [BASE, with_time(mm=51.2), with_time(mm=40.0)])
def test_nothing_is_named_where_time_does_not_explain_the_change(head: Profile) -> None:
    assert compared(BASE, head, 0.06).sentence.endswith(": no operator explains the change.")


def test_small_parts_of_a_change_are_not_named() -> None:
    head = with_time(mm=51.0, addmm=21.0, flash=15.0, add=7.0)
    head = replace(head, operators=tuple(replace(p, calls=1.0) for p in head.operators))
    many = tuple(Part(f"op{k}", 1e-6, 1.0) for k in range(6))
    slower = tuple(replace(part, seconds=2e-6, calls=2.0) for part in many)
    base = replace(BASE, operators=(*BASE.operators, *many))
    head = replace(head, operators=(*head.operators, *slower), seconds=110e-6)

    assert compared(base, head, 0.1).sentence.endswith("more time: no operator carries it alone.")


def test_what_came_and_went_are_kernels_where_there_are_any() -> None:
    base = replace(BASE, kernels=(Part("flash_fwd", 14e-6, 2.0),))
    head = replace(with_time(flash=20.0), kernels=(Part("softmax", 20e-6, 2.0),))

    found = compared(base, head, 0.06)

    assert (found.came, found.went) == (("softmax",), ("flash_fwd",))


def test_only_the_longest_parts_are_kept() -> None:
    many = tuple(Part(f"op{k}", k * 1e-6, 1.0) for k in range(300))

    found: ProfileChange = compared(replace(BASE, operators=many), BASE, 0.06)

    assert len(found.operators) == 20
    assert found.operators[0].name == "op299"
    assert len(found.came) + len(found.went) <= 20
