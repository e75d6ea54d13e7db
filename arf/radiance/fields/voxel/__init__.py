"""The voxel grid: geometry from nothing, on a CPU."""
