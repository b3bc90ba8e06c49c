"""The front: what the role `web` has instead of a render process: a line to one elsewhere."""
