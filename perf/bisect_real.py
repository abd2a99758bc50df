"""A search and a comparison for real, on the CPU of this machine, with their operators named.

Makes a git repository of a small transformer in plain PyTorch. One of its 16 commits adds a matrix
product that makes a step 10 % longer, by a size that is found on this machine first; `bisect` has
to find that commit and name the operator. Then attention is changed from sdpa to eager in the
working tree, and compared with the last commit. Joules are those of this machine's own meter:
measured by RAPL, or modelled from CPU time. Nothing here asserts. It takes some minutes on a
machine that does nothing else; with `--folder` an interrupted search goes on.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

COMMITS, CULPRIT, COSTS = 16, 11, 0.10

TRAINING = '''"""A small transformer and its step."""

import torch
from torch import nn
from torch.nn import functional

WIDTH, HEADS, LAYERS, CLASSES = 256, 8, 2, 2


def attend(queries, keys, values):
    return functional.scaled_dot_product_attention(queries, keys, values)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.project, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, rows):
        batch, length, _ = rows.shape
        three = self.project(rows).view(batch, length, 3, HEADS, WIDTH // HEADS)
        mixed = attend(*three.permute(2, 0, 3, 1, 4))
        return self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(WIDTH), SelfAttention()
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, rows):
        rows = rows + self.attention(self.norm(rows))
        return rows + self.narrow(functional.gelu(self.wide(rows)))


class Readout(nn.Module):
    def __init__(self):
        super().__init__()
        self.classify = nn.Linear(WIDTH, CLASSES)

    def forward(self, rows):
        return self.classify(rows.mean(1))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(31_000, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.readout = Readout()

    def forward(self, ids):
        rows = self.embed(ids)
        for block in self.blocks:
            rows = block(rows)
        return self.readout(rows)


def step():
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def train(batch):
        ids = batch["input_ids"]
        functional.cross_entropy(model(ids), ids[:, 1] % CLASSES).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return train
'''

EXTRA = (
    """        return self.classify(rows.mean(1))
""",
    """        mixing = torch.ones(SIZE, SIZE)
        rows = rows + (mixing @ mixing).mean() * 0
        return self.classify(rows.mean(1))
""",
)

EAGER = (
    "    return functional.scaled_dot_product_attention(queries, keys, values)\n",
    """    scores = queries @ keys.transpose(-2, -1) * keys.shape[-1] ** -0.5
    scores = scores + torch.zeros(len(scores), 1, 1, scores.shape[-1])
    return scores.softmax(-1, dtype=torch.float32) @ values
""",
)
"""As transformers computes it, with a mask that leaves nothing out."""

NARROWER = ("= 256, 8, 2, 2\n", "= 128, 4, 2, 2\n")
"""A model of which attention is a larger part."""

FILES = {
    "conftest.py": """import pytest
import training


@pytest.fixture
def energy_workload():
    return training.step()
""",
    "test_training.py": """def test_short(finetune, energy_gate):
    energy_gate.joules_per_token(finetune("sst2", batch_size=16))


def test_long(finetune, energy_gate):
    energy_gate.joules_per_token(finetune("squad_v1", batch_size=4))
""",
    "pytest.ini": "[pytest]\nenergy_idle_seconds = 0\nenergy_tokens = 8192\n",
    ".gitignore": "__pycache__/\n.pytest_cache/\n",
}


def main() -> None:
    """Make the repository, search it, and compare its two attentions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the repository here, and go on there")
    parser.add_argument("--part", choices=("bisect", "attention"), help="only one of both")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)) / "repository"
        if not folder.exists():
            make_repository(folder)
        print(machine())
        if options.part != "attention":
            good = f"HEAD~{COMMITS}"
            change = f"--change={100 * COSTS:g}"
            search = ["-m", "pytest_energy", "bisect", "--good", good, change, "--"]
            run([*search, "test_training.py::test_short"], folder)
        if options.part != "bisect":
            compare_attentions(folder)


def compare_attentions(folder: Path) -> None:
    """Compare a working tree with eager attention to a commit with sdpa."""
    git(folder, "checkout", "--quiet", "-B", "narrower", "main")
    replace(folder / "training.py", NARROWER)
    commit(folder, "A narrower model")
    replace(folder / "training.py", EAGER)
    compare = ["-m", "pytest", "-q", "--energy-compare=HEAD", "--energy-tokens=16384"]
    run([*compare, "test_training.py::test_long"], folder)
    git(folder, "checkout", "--quiet", "training.py")
    git(folder, "checkout", "--quiet", "main")


def machine() -> str:
    """What this was run on, on a line."""
    import torch

    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cpu = f"{len(names)} x {names[0]}" if names else platform.processor()
    return f"{cpu}, Python {platform.python_version()}, torch {torch.__version__}\n"


def make_repository(folder: Path) -> None:
    """A first commit, and 16 more: notes, but for the one that adds a product."""
    folder.mkdir(parents=True)
    for name, text in {**FILES, "training.py": TRAINING}.items():
        (folder / name).write_text(text)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.email", "someone@example.org")
    git(folder, "config", "user.name", "Someone")
    commit(folder, "A small transformer")
    size = size_of_product()
    for number in range(1, COMMITS + 1):
        subject = f"Note {number}"
        if number == CULPRIT:
            replace(folder / "training.py", (EXTRA[0], EXTRA[1].replace("SIZE", str(size))))
            subject = "Mix the readout"
        (folder / "notes.txt").write_text(f"{number}\n")
        commit(folder, subject)


def size_of_product() -> int:
    """Of square matrices whose product takes 10 % of a step of the first commit here."""
    import torch

    torch.set_num_threads(1)
    names: dict[str, Callable[[], Callable[[object], None]]] = {}
    exec(compile(TRAINING, "training.py", "exec"), names)
    train = names["step"]()
    batch = {"input_ids": torch.randint(5, 30_000, (16, 40))}
    wanted = COSTS * seconds_of(lambda: train(batch))

    def product(size: int) -> object:
        return torch.ones(size, size) @ torch.ones(size, size)

    return next(n for n in range(64, 4096, 16) if seconds_of(partial(product, n)) >= wanted)


def seconds_of(work: Callable[[], object], times: int = 15) -> float:
    """How long work keeps the processor (s), the median of several."""
    found = []
    for _ in range(times):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return median(found)


def replace(path: Path, texts: tuple[str, str]) -> None:
    """Change a file that is as it was written."""
    text = path.read_text()
    if texts[0] not in text:
        raise SystemExit(f"{path} is not as it was made: remove its folder, and begin anew")
    path.write_text(text.replace(*texts))


def git(folder: Path, *arguments: str) -> None:
    """Run git in the repository."""
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    """Commit all that there is."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def run(arguments: Sequence[str], folder: Path) -> None:
    """Run a command of this Python in the repository, and show what it prints."""
    print(f"$ python {' '.join(arguments)}", flush=True)
    try:
        done = subprocess.run([sys.executable, *arguments], cwd=folder, check=False)
    except KeyboardInterrupt:
        raise SystemExit("interrupted: with `--folder` the same command goes on") from None
    print(f"exit code {done.returncode}\n", flush=True)


if __name__ == "__main__":
    main()
