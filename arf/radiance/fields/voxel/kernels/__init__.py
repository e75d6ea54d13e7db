"""The voxel grid's inner loops, compiled: marching, look-up, smoothness."""
