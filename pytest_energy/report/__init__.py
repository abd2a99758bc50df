"""Reports: pure functions of records, and the line that shows a run in progress."""
