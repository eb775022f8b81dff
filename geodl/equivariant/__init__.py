"""Networks that commute with symmetries: of the sphere, of SO(3), of the plane."""
