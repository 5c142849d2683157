"""The command line in a process that stops itself at a certain moment, so that a test need not lie in wait for it.

python stopping.py SIGNAL MOMENT COUNT WORD...    runs `swdb WORD...`, and sends itself the signal when the moment comes
for the COUNT-th time. MOMENT is `step` (an optimizer has moved the weights, and nothing is written of it yet), or the end
of a file's name (all of it is written beside its place, and is about to be renamed).
"""

import os
import subprocess
import sys


def stopped(number: int, moment: str, count: int, *words: object, seconds: float = 0) -> subprocess.CompletedProcess:
    """Run a command that stops itself; `seconds` lie between its checkpoints."""
    command = [sys.executable, __file__, str(int(number)), moment, str(count), *map(str, words)]
    environment = {**os.environ, "SWDB_CHECKPOINT_SECONDS": str(seconds)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)


def main(number: int, moment: str, count: int, words: list[str]) -> None:
    """Run a command, with a signal in it."""
    from torch.optim import Adam

    from swdb.cli.app import app

    replace, step = os.replace, Adam.step

    def comes(this: str) -> None:
        nonlocal count
        if this.endswith(moment):
            count -= 1
            if count == 0:
                os.kill(os.getpid(), number)

    def watched_replace(source, target, **options):
        comes(os.fspath(target))
        return replace(source, target, **options)

    def watched_step(self, *arguments, **options):
        found = step(self, *arguments, **options)
        comes("step")
        return found

    os.replace, Adam.step = watched_replace, watched_step
    app(words, prog_name="swdb")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
