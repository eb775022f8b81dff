"""Attribution as a guide to conjectures: what a network reads off convex polyhedra, and the formula behind it."""
