"""One pipeline, `service.Service.respond`, behind two faces: `serve` and `lambda_handler`."""
