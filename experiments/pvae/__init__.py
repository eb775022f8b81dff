"""Poincaré variational autoencoders (Mathieu et al. 2019): branching diffusion and MNIST."""
