"""python -m benchmarks runs them all."""

from benchmarks import autograd_engine, training_loop

if __name__ == "__main__":
    autograd_engine.main()
    training_loop.main()
