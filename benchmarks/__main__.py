"""python -m benchmarks runs them all."""

from benchmarks import training_loop

if __name__ == "__main__":
    training_loop.main()
