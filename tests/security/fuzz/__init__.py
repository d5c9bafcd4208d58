"""Generated requests: garbage, mutations, and what docs/openapi.yaml allows."""
