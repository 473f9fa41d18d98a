"""What is measured and how: `make bench`, or a part of it by `python -m benchmarks PART` (docs/benchmarks.md)."""
