"""Whether two targets are the same: their image, model and settings, and what they answer."""
