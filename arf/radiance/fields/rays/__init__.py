"""Fields that are sampled along rays: spaces, samples, volume rendering."""
