"""launchers.psij: jobs under PBS, LSF or Slurm, through psij-python."""
