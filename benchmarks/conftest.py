"""The suite's own hook; what it does is in `paper.order`."""

from paper.order import pytest_collection_modifyitems as pytest_collection_modifyitems
