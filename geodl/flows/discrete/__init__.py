"""Flows of finitely many steps: couplings of vectors (``realnvp``) and of images (``glow``, ``image_realnvp``)."""
