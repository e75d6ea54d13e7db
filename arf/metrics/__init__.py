"""Figures for pictures: fidelity, consistency, strength of a style; as functions, and as classes that take means.

Pictures are float [H, W, 3], RGB in [0, 1]; masks are bool [H, W].
"""

from arf.metrics.classes import LPIPS, NNFM, PSNR, RMSE, SSIM, Color, Gram, Structure
from arf.metrics.likeness import color_distance, gram_distance, nnfm_distance, structure_distance
from arf.metrics.perceptual import lpips
from arf.metrics.pictures import psnr, rmse, ssim
from arf.metrics.warping import look_up, splat

__all__ = [
    "LPIPS", "NNFM", "PSNR", "RMSE", "SSIM", "Color", "Gram", "Structure",
    "color_distance", "gram_distance", "look_up", "lpips", "nnfm_distance", "psnr", "rmse", "splat", "ssim",
    "structure_distance",
]  # fmt: skip
