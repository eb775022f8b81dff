"""Digits on the sphere: networks that commute with rotations, beside planar ones and augmentation."""
