"""SageMaker Batch Transform without SageMaker: a driver, its records and its results."""
