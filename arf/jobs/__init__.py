"""What every job needs: files written whole, runs, presets, interrupts, devices."""
