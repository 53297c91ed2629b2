"""What the order of its input does to a reranker that reads lists."""
