"""Run Docker's command line."""

import subprocess


def docker(*arguments: str, stderr: int = subprocess.PIPE) -> str:
    """Return what `docker ARGUMENTS` prints. Raise CalledProcessError with the output as a note."""
    command = ["docker", *arguments]
    try:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=stderr, text=True)
    except subprocess.CalledProcessError as error:
        error.add_note(f"{error.stdout}{error.stderr}")
        raise
    return done.stdout.strip()
