"""What the leaderboard knows: entries of models on datasets, and boards of them."""
