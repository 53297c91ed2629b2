"""HNSW indexes: building, searching, insertion orders, exact neighbours and intrinsic dimension."""
