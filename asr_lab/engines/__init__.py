"""Where commands run: processes of this machine, or jobs of Slurm."""
