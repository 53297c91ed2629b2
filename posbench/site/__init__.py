"""The static leaderboard: boards and studies as pages that open from a file."""
