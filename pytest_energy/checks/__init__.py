"""From a run to the record of its verdict, against a baseline."""
