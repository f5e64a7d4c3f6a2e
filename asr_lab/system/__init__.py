"""The machine below: installed libraries and how they load, threads. Nothing here knows of speech or of MLflow."""
