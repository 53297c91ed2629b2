"""What an index, its parameters and the order of insertion cost: a grid of builds, measured against exact search."""
