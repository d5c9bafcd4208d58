"""The CDK constructs: config <- image, targets <- stack <- app.py."""
