"""The papers' experiments, one folder a family: ``python -m experiments.<family>``."""
