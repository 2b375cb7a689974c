"""A page about one's own adapter: what it has changed, where, in how many directions; each number next to chance."""
