"""The MLflow UI, made for speech: saved views, addresses of pages, and a server for this machine."""
