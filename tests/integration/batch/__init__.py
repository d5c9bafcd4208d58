"""SageMaker Batch Transform without SageMaker: a driver, its records, and what comes of them."""
