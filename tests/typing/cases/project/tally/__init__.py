"""A program of somebody else's, built on the installed package alone: it counts words, over TCP."""
