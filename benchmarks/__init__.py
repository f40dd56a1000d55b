"""Side-by-side timings against peers, as ratios in one process."""
