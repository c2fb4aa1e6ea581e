"""Resources as people write them: YAML and JSON in Kubernetes' shape, read and written."""
