"""Configuration: settings (`schema`), reading (`load`), and signatures and names of runs (`identity`)."""
