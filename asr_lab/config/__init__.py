"""Configuration: what can be set (`schema`), how it is read (`load`), and what makes a run itself (`identity`)."""
