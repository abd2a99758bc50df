"""What is metered is compared with what computes, by what torch says of its GPUs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_energy import Device, EnergyError
from pytest_energy.workloads.device import require_metered

FIRST, SECOND = (f"0000000{n}-1111-2222-3333-444455556666" for n in (1, 2))
CARDS = [Device(f"gpu:{n}", "NVIDIA H100", f"GPU-{uuid}") for n, uuid in enumerate((FIRST, SECOND))]
CPU = [Device("cpu", "a CPU", "cpu"), Device("dram", "memory", "dram")]


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torch, as far as it is asked for its GPUs; `see` says which it sees."""

    def see(*uuids: str | None, current: int = 0, name: str = "NVIDIA H100") -> None:
        found = [SimpleNamespace(name=name, uuid=uuid) for uuid in uuids]
        for one in found:
            if one.uuid is None:  # as in older releases
                del one.uuid
        fake.cuda = SimpleNamespace(
            device_count=lambda: len(found),
            get_device_properties=lambda index: found[index],
            current_device=lambda: current,
        )

    def device(text: str) -> SimpleNamespace:
        index = text.partition(":")[2]
        return SimpleNamespace(index=int(index) if index else None)

    fake = SimpleNamespace(device=device, see=see)
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


def refused(device: str, devices: Sequence[Device]) -> str:
    with pytest.raises(EnergyError) as raised:
        require_metered("mine", device, devices)
    return str(raised.value)


def test_work_on_the_cpu_beside_a_metered_gpu() -> None:
    text = refused("cpu", CARDS[:1])

    assert text.startswith(
        "`mine` computes on the CPU, and what is metered is `gpu:0` (NVIDIA H100)"
    )


@pytest.mark.parametrize(
    "devices", [CPU, [Device("wall", "plug", "")], [*CARDS, *CPU], []], ids=str
)
def test_work_on_the_cpu_that_is_metered_too(devices: list[Device]) -> None:
    require_metered("mine", "cpu", devices)


def test_work_on_a_gpu_while_the_cpu_is_metered() -> None:
    text = refused("cuda:0", CPU)

    assert "what is metered is `cpu` (a CPU), `dram` (memory)" in text
    assert "pytest-energy doctor" in text
    require_metered("mine", "cuda:0", [Device("wall", "plug", "")])


def test_gpus_are_compared_by_uuid(torch: Any) -> None:
    torch.see(FIRST, SECOND)
    require_metered("mine", "cuda", CARDS)
    require_metered("mine", "cuda:1", CARDS)
    torch.see(SECOND)
    require_metered("mine", "cuda", CARDS[1:])
    require_metered("mine", "cuda", [Device("gpu:1", "NVIDIA H100", f"GPU-{SECOND}".upper())])

    text = refused("cuda", CARDS[:1])

    assert f"computes on `cuda` (NVIDIA H100, GPU-{SECOND}), and what is metered is `gpu:0`" in text


def test_a_mask_that_came_later_leaves_an_idle_card_metered(torch: Any) -> None:
    torch.see(SECOND)

    text = refused("cuda:0", CARDS)

    assert text.startswith("`gpu:0` would be metered, and torch does not see it")
    assert "set `CUDA_VISIBLE_DEVICES` before pytest starts" in text


def test_the_current_gpu_is_the_one_without_a_number(torch: Any) -> None:
    torch.see(FIRST, SECOND, current=1)

    assert "computes on `cuda`" in refused("cuda", CARDS[:1])
    require_metered("mine", "cuda:0", CARDS[:1])


def test_a_torch_that_tells_no_uuids_is_held_to_numbers_and_names(torch: Any) -> None:
    torch.see(None, None)
    require_metered("mine", "cuda", CARDS)
    torch.see(None)
    assert refused("cuda", CARDS).startswith("`gpu:1` would be metered")
    torch.see(None, name="NVIDIA A100")
    assert "(NVIDIA A100), and what is metered" in refused("cuda", CARDS[:1])


def test_nothing_is_said_of_gpus_that_cannot_be_compared(torch: Any) -> None:
    torch.see(FIRST)

    require_metered("mine", "cuda", [Device("gpu:0", "another maker's", "0x740c")])
    require_metered("mine", "mps", [Device("gpu:0", "another maker's", "0x740c")])


FAKE = """
class cuda:
    is_available = staticmethod(lambda: {})
    is_initialized = staticmethod(lambda: False)
"""


@pytest.mark.fault(
    "neighbours",
    "torch computes elsewhere than on what is metered",
    "refused before anything is loaded",
)
@pytest.mark.parametrize(("sees", "metered"), [(False, '"gpu:0"'), (True, '"cpu"')])
def test_finetune_refuses_before_anything_is_loaded(
    pytester: pytest.Pytester, spending: Path, sees: bool, metered: str
) -> None:
    (spending / "torch").mkdir()
    (spending / "torch" / "__init__.py").write_text(FAKE.format(sees))
    (spending / "torch" / "version.py").write_text("")
    meter = spending / "spending.py"
    meter.write_text(meter.read_text().replace('"gpu:0"', metered))
    pytester.makepyfile(
        """
        def test_mine(finetune, energy_gate):
            energy_gate.joules_per_token(finetune("sst2"))

        def test_own_step(energy):
            with energy.window("mine"):
                pass
        """
    )

    if sees:  # its batches are on the GPU
        pytester.makepyfile(
            test_step="""
            import pytest

            @pytest.fixture
            def energy_workload():
                return len

            def test_step(finetune):
                finetune("sst2")
            """
        )

    result = pytester.runpytest_subprocess("--energy-json=run.json")

    result.assert_outcomes(failed=1 + sees, passed=1)
    where = "cuda" if sees else "the CPU"
    result.stdout.fnmatch_lines([f"*`sst2/bert-base-uncased` computes on *{where}*"])
    result.stdout.no_fnmatch_line("*Traceback*")
