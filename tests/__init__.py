"""A package of its own: flow-matching installs another one of this name, which benchmarks would find first."""
