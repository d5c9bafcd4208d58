"""The serving package: one pipeline (`service.respond`) behind two faces (`serve`, `lambda_handler`)."""
