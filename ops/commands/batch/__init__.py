"""`python -m ops batch`: many records at once, by SageMaker Batch Transform."""
