"""What is measured: the tasks, their data, the models and the loop that fine-tunes them."""

from __future__ import annotations
