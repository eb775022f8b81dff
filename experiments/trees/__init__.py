"""Trees and taxonomies in hyperbolic space: the construction in the plane, and embeddings that are learned."""
