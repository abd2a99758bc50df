"""Fine-tuning on several ranks: real processes on this CPU, and simulated GPUs."""

from __future__ import annotations

import copy
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import sim
from pytest_energy import open_meter
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.metering.device_lock import device_lock
from pytest_energy.meters import Meter
from pytest_energy.meters.nvml.driver import visible
from pytest_energy.workloads.data import open_data
from pytest_energy.workloads.distributed import DistributedFineTuning, RankGroups
from pytest_energy.workloads.distributed.launch import RankPlace
from pytest_energy.workloads.distributed.rank import Rank, machine, require_own_devices
from pytest_energy.workloads.distributed.rank_group import RankGroup
from pytest_energy.workloads.finetune import FineTuning, prepare
from workloads_support import SteadyMeter

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
psutil: Any = pytest.importorskip("psutil")
pytest.importorskip("codecarbon")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="these train on the CPU")

TOKENS = 6_000
EXCHANGE = (True, True, False, True)
"""Whether the ranks exchange gradients, window by window."""


class Pair(NamedTuple):
    """A run of two ranks, its windows, and what its tree's joules were around each."""

    run: DistributedFineTuning
    windows: list[Window]
    around: list[float]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    groups, meter = RankGroups(), open_meter("codecarbon")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path_factory.mktemp("locks")))
        # As in a test: the devices are held here, and yet metered by the ranks.
        with device_lock([device.uuid for device in meter.devices], 10, print):
            run = prepared(groups, meter)
    windows, around = [], []
    for exchange in EXCHANGE:
        before = meter.read().joules["cpu"]
        windows.append(run.window() if exchange else run.window_without_exchange())
        around.append(meter.read().joules["cpu"] - before)
    yield Pair(run, windows, around)
    groups.close()
    meter.close()


def prepared(groups: RankGroups, meter: Meter, **settings: Any) -> DistributedFineTuning:
    """A small run of two ranks."""
    return groups.prepare(
        "sst2",
        "bert-tiny",
        **{
            "data": open_data("synthetic"),
            "meter": meter,
            "tokens_per_window": TOKENS,
            "max_tokens_per_batch": 256,
            "processes": 2,
            "timeout_seconds": 120,
            **settings,
        },
    )


def shards() -> list[FineTuning]:
    """What each of two ranks trains, in this process."""
    parts = open_data("synthetic"), SteadyMeter(), TOKENS, "cpu"
    return [FineTuning(alone().workload, *parts, (rank, 2)) for rank in range(2)]


@cache
def alone() -> FineTuning:
    """The same in one process; it is looked at and never trained."""
    return prepare(
        "sst2",
        "bert-tiny",
        data=open_data("synthetic"),
        meter=SteadyMeter(),
        tokens_per_window=TOKENS,
        max_tokens_per_batch=256,
        device="cpu",
    )


@pytest.mark.realtime  # what waits for a core is invalid
def test_a_window_is_every_rank_s_share_of_the_same_batches(pair: Pair) -> None:
    first, second = shards()
    run = pair.run
    assert run.tokens == first.tokens + second.tokens >= TOKENS
    assert run.real_tokens == first.real_tokens + second.real_tokens
    assert run.padding_overhead == run.tokens / run.real_tokens
    assert run.steps == first.steps == second.steps
    whole = alone()
    together = [batch for both in zip(first.batches, second.batches, strict=True) for batch in both]
    for ours, theirs in zip(together, whole.batches, strict=False):
        assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert 0 <= len(together) - whole.steps < 2
    for window in pair.windows:
        assert window.valid
        assert window.name == run.id
        assert (window.tokens, window.real_tokens) == (run.tokens, run.real_tokens)
        assert window.steps == run.steps


def test_the_tree_s_joules_count_once(pair: Pair) -> None:
    found = list(zip(EXCHANGE, pair.windows, pair.around, strict=True))
    least = 0.4 * min(window.joules_by_domain["cpu"] for each, window, _ in found if each)
    for exchange, window, around in found:
        assert set(window.joules_by_domain) == {"cpu", "dram"}
        joules = window.joules_by_domain["cpu"]
        assert joules <= around + 0.5
        # The test's process does little but wait meanwhile. What follows a window without
        # exchange, when ranks take on one model, is outside it and may cost more than the window;
        # but its work is that of the others, less the exchange. One rank of two would be half.
        assert joules > (0.75 * around if exchange else least)


def test_gradients_are_averaged_but_where_they_are_not_exchanged(pair: Pair) -> None:
    losses = [window.loss for window in pair.windows]
    assert losses == pytest.approx(emulated(EXCHANGE), rel=1e-5)
    assert losses != pytest.approx(emulated((True,) * 4), rel=1e-5)


def emulated(plan: tuple[bool, ...]) -> list[float]:
    """Losses of two ranks' training, made step by step in one process."""
    runs = shards()
    found = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for number, exchange in enumerate(plan):
        torch.manual_seed(1 + number)
        randomness = [torch.random.get_rng_state()] * 2
        losses = []
        for batches in zip(*(run.batches for run in runs), strict=True):
            for rank, run in enumerate(runs):
                torch.random.set_rng_state(randomness[rank])
                loss = run._model(**batches[rank]).loss
                loss.backward()
                losses.append(float(loss.detach()))
                randomness[rank] = torch.random.get_rng_state()
            if exchange:
                for ours, theirs in zip(*(run._model.parameters() for run in runs), strict=True):
                    ours.grad = (ours.grad + theirs.grad) / 2
                    theirs.grad = ours.grad.clone()
            for run in runs:
                torch.nn.utils.clip_grad_norm_(run._model.parameters(), 1.0)
                run._optimizer.step()
                run._optimizer.zero_grad()
        found.append(sum(losses) / len(losses))
        if not exchange:
            first, second = runs
            second._model.load_state_dict(first._model.state_dict())
            second._optimizer.load_state_dict(copy.deepcopy(first._optimizer.state_dict()))
    torch.set_num_threads(threads)
    return found


def listeners() -> list[Any]:
    """Where processes that this one has started listen, (address, port)."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            open_ones = (getattr(process, "net_connections", None) or process.connections)("inet")
            found += [tuple(each.laddr) for each in open_ones if each.status == psutil.CONN_LISTEN]
    return found


@pytest.mark.attack(
    "ranks",
    "somebody scans the ports of a run on several GPUs",
    "nothing listens beyond the loopback interface",
)
def test_ranks_of_one_node_listen_on_the_loopback_interface_alone(pair: Pair) -> None:
    found = listeners()

    assert found  # gloo's own
    assert all(ipaddress.ip_address(address).is_loopback for address, _ in found)


@pytest.mark.attack(
    "ranks",
    "somebody connects to the machine's address",
    "refused",
)
def test_ranks_of_one_node_are_out_of_reach_by_the_machine_s_other_addresses(pair: Pair) -> None:
    others = [
        (each.address, port)
        for interface in psutil.net_if_addrs().values()
        for each in interface
        if each.family == socket.AF_INET and not ipaddress.ip_address(each.address).is_loopback
        for _, port in listeners()
    ]
    if not others:
        pytest.skip("this machine has no address but its loopback one")
    for place in others:
        with socket.socket() as caller, pytest.raises(OSError, match="refused"):
            caller.connect(place)


def test_names_and_digests_tell_runs_apart(pair: Pair) -> None:
    run = pair.run
    assert run.id == "sst2/bert-tiny/x2"
    assert run.workload.digest == alone().digest
    loaded = {"tokens": 1, "real_tokens": 1, "steps": 1, "parameters": [1, 1]}

    def digest(processes: int, nodes: int) -> str:
        group: Any = type("Group", (), {"processes": processes, "nodes": nodes})
        return DistributedFineTuning(group, 0, run.workload, loaded).digest

    digests = {digest(1, 1), digest(2, 1), digest(4, 1), digest(4, 2), run.workload.digest}
    assert len(digests) == 5
    assert digest(2, 1) == run.digest


def test_a_killed_rank_ends_the_run_with_its_name(pair: Pair) -> None:
    # The last test of the pair, which does not survive it.
    ours = psutil.Process().children(recursive=True)
    ranks = {p.environ()["RANK"]: p for p in ours if lives(p) and "LOCAL_RANK" in p.environ()}
    ranks["1"].send_signal(signal.SIGKILL)

    with pytest.raises(EnergyError, match=r"rank 1 of 2 ended with SIGKILL and wrote nothing"):
        pair.run.window()

    assert [process for process in ranks.values() if lives(process)] == []
    with pytest.raises(EnergyError, match="the 2 processes have ended"):
        pair.run.window()
    pair.run.close()


def ranks_alive(program: str) -> list[Any]:
    """Ranks, wherever they are, that run a program."""
    found = [p for p in psutil.process_iter() if program in command_of(p)]
    return [p for p in found if "torch.distributed.run" not in command_of(p)]


def lives(process: Any) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


RANK = """
import os, signal, sys, time
from pytest_energy.channels import connect
if os.environ["RANK"] == "0":
    channel = connect()
    channel.receive()
    channel.send("done", returned={})
    channel.receive()
"""


def group(tmp_path: Path, code: str, timeout_seconds: float) -> RankGroup:
    """Two ranks that run some code instead of training."""
    program = tmp_path / "rank.py"
    program.write_text(RANK + code)
    return RankGroup(2, 1, "codecarbon", timeout_seconds, program=(str(program),))


def test_a_rank_s_last_words_are_the_error(tmp_path: Path) -> None:
    code = "sys.exit('no room left' if os.environ['RANK'] == '1' else time.sleep(60))"

    with pytest.raises(EnergyError, match=r"rank 1 of 2 ended with exit code 1:\n  no room left$"):
        group(tmp_path, code, 60).call("window")

    assert ranks_alive(str(tmp_path / "rank.py")) == []


def test_what_a_rank_prints_need_not_be_utf_8(tmp_path: Path) -> None:
    code = r"os.write(2, b'caf\xe9\n'); sys.exit(int(os.environ['RANK']) * 3 or time.sleep(60))"

    with pytest.raises(EnergyError, match=r"rank 1 of 2 ended with exit code 3:\n  caf\ufffd$"):
        group(tmp_path, code, 60).call("window")


def test_the_rank_that_fails_first_is_the_one_that_is_named(tmp_path: Path) -> None:
    code = r"""
from pytest_energy.errors import EnergyError
from pytest_energy.workloads.distributed.rank import _fail
import torch.distributed
folder = os.path.dirname(os.environ["PYTEST_ENERGY_RANKS"])
open(folder + "/ready" + os.environ["RANK"], "w").close()
while not all(os.path.exists(folder + "/ready" + rank) for rank in "01"):
    time.sleep(0.05)
if os.environ["RANK"] == "0":
    time.sleep(0.5)
    _fail(0, EnergyError("the other is gone"), channel)
_fail(1, EnergyError("no \udcff room"), None)
"""
    with pytest.raises(EnergyError, match=r"rank 1 of 2: no \\udcff room$"):
        group(tmp_path, code, 60).call("window")


@pytest.mark.fault(
    "processes and signals",
    "a rank hangs",
    "all ranks are ended, and it is said",
)
def test_ranks_that_hang_are_ended(tmp_path: Path) -> None:
    code = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("waiting for nobody", file=sys.stderr, flush=True)
time.sleep(600)
"""
    hanging = group(tmp_path, code, 30)
    hanging.timeout_seconds = 1.0
    assert len(ranks_alive(str(tmp_path / "rank.py"))) == 2

    with pytest.raises(
        EnergyError, match=r"`window` of 2 processes took longer than 1 s(.|\n)*waiting for nobody"
    ):
        hanging.call("window")

    assert ranks_alive(str(tmp_path / "rank.py")) == []


@pytest.mark.attack(
    "plugs and pipes",
    "a rank prints without an end",
    "ended, and said",
)
def test_a_rank_that_floods_its_output_is_ended(tmp_path: Path) -> None:
    code = """
if os.environ["RANK"] == "1":
    os.ftruncate(1, 1 << 30)  # as much as if it had printed that
time.sleep(600)
"""
    with pytest.raises(EnergyError, match=r"rank 1 of 2 ended with its output: it printed more"):
        group(tmp_path, code, 60).call("window")

    assert ranks_alive(str(tmp_path / "rank.py")) == []


def test_ranks_do_not_outlive_the_process_that_started_them(tmp_path: Path) -> None:
    program = tmp_path / "rank.py"
    program.write_text(RANK + "time.sleep(600)")
    code = f"""
import os, signal
from pytest_energy.workloads.distributed.rank_group import RankGroup
group = RankGroup(2, 1, "codecarbon", 60, program=({str(program)!r},))
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "KeyboardInterrupt" in done.stderr
    assert ranks_alive(str(program)) == []


def command_of(process: Any) -> list[str]:
    try:
        return [*process.cmdline()] if lives(process) else []
    except psutil.Error:
        return []


TWO_NODES = """
import pytest

@pytest.mark.energy(max_windows=3, tokens=20000)
def test_nodes(finetune, energy_gate):
    run = finetune("sst2", "bert-tiny", processes=2, nodes=2, timeout_seconds=120)
    energy_gate.check("joules_per_token", run)
    finetune("sst2", "no-such-model", processes=2, nodes=2, timeout_seconds=120)
"""


@pytest.fixture
def other_node(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    """Another node's torchrun, on this machine, which prints to `node1.txt`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # Ranks compute on the CPU, so that only a module's joules can be theirs; its sensor sees all.
    card = partial(sim.SimulatedGpu, name="RTX 2080 with Grace", lines=("scope 1",))
    here = [card("constant 300", 0.02), card("constant 9", 0.02)]
    there = [card("constant 100", 0.04, uuid="GPU-00000000-0000-0000-0000-00000000000b")]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    meeting["PYTEST_ENERGY_LOCKS"] = str(pytester.path / "locks")  # of both: it is one machine
    meeting["HF_HUB_OFFLINE"] = "1"  # else the model that is missing is asked for over and over
    for name, value in {**sim.environment(here, pytester.path / "node0"), **meeting}.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--node-rank=1"]
    command += ["--master-addr=127.0.0.1", f"--master-port={port}", "--nproc-per-node=1"]
    with Path(pytester.path / "node1.txt").open("wb") as output:
        other = subprocess.Popen(
            [*command, "-m", "pytest_energy.workloads.distributed.rank"],
            env={**os.environ, **sim.environment(there, pytester.path / "node1"), **meeting},
            stdout=output,
            stderr=output,
        )
    try:
        yield other
    finally:
        other.kill()
        other.wait()


NODE_0 = ("--energy-json=run.json", "--energy-meter=nvml", "--energy-idle-seconds=0")


def test_two_nodes_add_up_to_the_known_joules(
    pytester: pytest.Pytester, other_node: subprocess.Popen[bytes]
) -> None:
    pytester.makepyfile(TWO_NODES)
    result = pytester.runpytest_subprocess(*NODE_0)

    # Nobody is left waiting when the run breaks off, nor told that all went well.
    assert other_node.wait(30) != 0
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*rank ? of 2: `no-such-model` cannot be loaded*"])
    assert "Traceback" not in result.stdout.str()
    (verdict,) = json.loads((pytester.path / "run.json").read_text())["verdicts"]
    assert verdict["id"] == "sst2/bert-tiny/x2n2"
    assert verdict["windows"]
    exact = 0
    for window in verdict["windows"]:
        # Two processes, so one card a node: the second card here is nobody's.
        joules, seconds = window["joules_by_domain"], window["seconds"]
        doubt = window["uncertainty_joules"]
        assert set(joules) == {"node0/module:0", "node1/module:0"}
        known = {"node0/module:0": 300 * seconds, "node1/module:0": 100 * seconds}
        # The seconds are the slower node's; the other ends earlier if its machine is kept busy.
        assert all(joules[node] < known[node] + doubt for node in known)
        exact += joules == pytest.approx(known, abs=doubt)
        slower = max(joules["node0/module:0"] / 300, joules["node1/module:0"] / 100)
        assert slower == pytest.approx(seconds, abs=doubt / 100)
    # A machine that others keep busy leaves some windows in doubt.
    assert any(each["uncertainty_joules"] < 0.1 * each["joules"] for each in verdict["windows"])
    assert exact > len(verdict["windows"]) / 2


ON_THE_CPU = """
def test_mine(finetune):
    finetune("sst2", "bert-tiny", processes=2, timeout_seconds=120)
"""


@pytest.mark.fault(
    "neighbours",
    "ranks compute on the CPU, and their node meters GPUs",
    "refused before anything is loaded",
)
def test_ranks_refuse_what_they_do_not_compute_on(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [sim.SimulatedGpu(tick_seconds=0.02)] * 2
    for name, value in sim.environment(cards, pytester.path / "node").items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(ON_THE_CPU)

    result = pytester.runpytest_subprocess("--energy-meter=nvml", "--energy-idle-seconds=0")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*rank 0 of 2: `finetune` computes on the CPU, and what is*"])
    assert "Traceback" not in result.stdout.str()


def test_ranks_on_gpus_refuse_a_meter_of_the_cpu() -> None:
    place = RankPlace(rank=0, ranks=2, local_rank=0, local_ranks=2, node=0)
    collective: Any = SimpleNamespace(place=place)

    with ExitStack() as held, pytest.raises(EnergyError, match="computes on `cuda:0`, and what"):
        Rank(collective, "cuda:0", held).open("codecarbon", 60)


@pytest.mark.fault(
    "processes and signals",
    "the test's process is killed on one of two nodes",
    "the other's torchrun ends with an error and the reason",
)
@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 1, "the test's process broke off, or was killed"),
        # The next test may call.
        ("assert False", 0, ""),
    ],
    ids=["killed", "failed"],
)
def test_another_node_ends_well_only_if_it_was_let_end(
    pytester: pytest.Pytester,
    other_node: subprocess.Popen[bytes],
    ends: str,
    code: int,
    said: str,
) -> None:
    pytester.makepyfile(
        f"""
        import os, signal

        def test_nodes(finetune):
            finetune("sst2", "bert-tiny", processes=2, nodes=2, timeout_seconds=120)
            {ends}
        """
    )
    pytester.runpytest_subprocess(*NODE_0)

    assert other_node.wait(60) == code
    assert said in (pytester.path / "node1.txt").read_text()


@pytest.mark.fault(
    "processes and signals",
    "two nodes on one machine would meter one device",
    "refused by name; with devices of their own they run",
)
def test_nodes_on_one_machine_need_devices_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine()
    require_own_devices([(0, here, ["GPU-a"]), (0, here, []), (1, here, ["GPU-b"])])
    require_own_devices([(0, here, ["cpu"]), (1, "another machine", ["cpu"])])
    with pytest.raises(EnergyError, match="nodes 0 and 1 are one machine and would both meter `c"):
        require_own_devices([(0, here, ["cpu"]), (1, machine(), ["cpu"])])
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", "/elsewhere")
    require_own_devices([(0, here, ["cpu"]), (1, machine(), ["cpu"])])


BAD = """
import pytest

@pytest.mark.parametrize("settings", [
    {"processes": 0},
    {"nodes": 2},
    {"processes": 3, "nodes": 2},
    {"processes": 2},
    {"processes": 2, "nodes": 2},
    {"processes": 1, "batchsize": 4},
    {"processes": 1, "device": "cpu"},
])
def test_bad(finetune, settings):
    finetune("sst2", "bert-tiny", **settings)
"""


def test_bad_input_says_what_to_do(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    pytester.makepyfile(BAD)

    result = pytester.runpytest("-rf", "-q")

    result.assert_outcomes(failed=7)
    lines = [
        "`processes` is 0: give a whole number of at least 1",
        "`processes` is 0: give a whole number of at least 1",
        "`processes=3` cannot be shared evenly by `nodes=2`: give a multiple",
        "`processes=2` puts 2 on this node, which has 1 GPU that CUDA sees: start at most one*",
        "`nodes=2` needs to know where they meet: set `MASTER_ADDR`*",
        "`batchsize` is not a setting of a workload: did you mean `batch_size`?*",
        "`device` is not a setting of a workload: *",
    ]
    result.stdout.fnmatch_lines(lines)
    assert "Traceback" not in result.stdout.str()
    assert "During handling" not in result.stdout.str()


def test_nodes_that_cannot_meet_are_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))

        with pytest.raises(EnergyError, match=r"2 processes did\n.*address already in use") as said:
            RankGroup(2, 2, "codecarbon", 60)

    assert "Traceback" not in str(said.value)


def test_torch_without_distributed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("torch.distributed"), "is_available", lambda: False)

    with pytest.raises(EnergyError, match=r"`processes=2` needs `torch.distributed`"):
        prepared(RankGroups(), open_meter("codecarbon"))


def test_a_meter_without_a_name_cannot_be_opened_elsewhere() -> None:
    with pytest.raises(EnergyError, match="meter `steady` cannot be opened on each node"):
        prepared(RankGroups(), SteadyMeter())


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({}, {"CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ({"CUDA_VISIBLE_DEVICES": "3,1,2"}, {"CUDA_VISIBLE_DEVICES": "3,1"}),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a"}, {"CUDA_VISIBLE_DEVICES": "GPU-a"}),
    ],
)
def test_a_node_s_ranks_see_one_gpu_each_and_no_more(
    setting: dict[str, str], expected: dict[str, str]
) -> None:
    assert visible(setting, 2) == expected
