"""python -m benchmarks runs them all, but for cifar10_speed, grading and sweep: those take long and are asked for by name."""

from benchmarks import autograd_engine, training_loop

if __name__ == "__main__":
    autograd_engine.main()
    training_loop.main()
