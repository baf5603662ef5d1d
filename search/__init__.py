"""The search over layer densities: what is asked, which points are tried, and whether the winner is real."""
