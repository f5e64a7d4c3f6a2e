"""The model registry: versions, promotion, model cards, pyfunc packages."""
