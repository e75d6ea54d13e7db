"""Training of the networks in `arf.networks` on folders of pictures."""
