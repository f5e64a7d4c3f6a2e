"""MLflow: recording runs, finding them again, keeping models. Nothing here imports torch."""
