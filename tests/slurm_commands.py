"""Stand-ins for Slurm: sbatch, srun and scontrol as far as datatrove uses them, run at once and on this machine."""

from pathlib import Path


def write_commands(folder: Path) -> None:
    """Put the commands into a folder for PATH; sbatch notes each task (name, number, arguments) in its file `jobs`."""
    for name, text in _COMMANDS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


_COMMANDS = {
    "sbatch": """#!/bin/bash
for script; do :; done
folder=$(dirname "$0")
name=$(sed -n 's/^#SBATCH --job-name=//p' "$script")
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
for task in $(seq 0 "$last"); do
  echo "$name $task $*" >> "$folder/jobs"
  RUN_OFFSET=0 SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=17 SLURM_NODELIST=here bash "$script" >> "$folder/out" 2>&1
done
echo "Submitted batch job 17"
""",
    "srun": """#!/bin/bash
while [[ $1 == -* || $1 == 1 ]]; do shift; done
exec "$@"
""",
    "scontrol": """#!/bin/bash
echo localhost
""",
}
