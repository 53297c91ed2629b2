"""Rerankers that read many candidates at once: how they are asked, in which windows, and how answers are read."""
