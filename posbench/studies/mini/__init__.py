"""Mini-benchmarks: how few queries keep the ranking that a set of rankers has on all of them, and which ones."""
