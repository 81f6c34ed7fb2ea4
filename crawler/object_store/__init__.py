"""The same dataset on S3 or Google Cloud Storage."""
