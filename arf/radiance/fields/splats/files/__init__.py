"""Files of Gaussian splats, in and out: .ply of 3D Gaussian Splatting, compressed .ply, .spz, .splat, run folders."""
