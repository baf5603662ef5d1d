"""Programs that measure; none is a test. Each prints a table and leaves its numbers and figure in docs/."""
