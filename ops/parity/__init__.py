"""`python -m ops parity`: compare image, model, settings and answers of two targets."""
