"""Build a model's artifact. `export` runs in another environment, whose pins conflict with ours."""
