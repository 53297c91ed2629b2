"""Studies: grids over rankers and results that produce Reports."""
