"""Benchmarks: ours beside other libraries, in one process. See docs/benchmarks.md.

Command, from the root of the repository: python -m experiments.benchmarks SUITE
"""
