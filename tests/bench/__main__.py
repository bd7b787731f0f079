"""`make bench`: every benchmark in one run, on the same threads."""

from __future__ import annotations

import torch

from tests.bench import degradations, engine, sampling


def main() -> None:
    torch.set_num_threads(2)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of interleaved rounds\n")
    for bench in (sampling, engine, degradations):
        for line in bench.run():
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
