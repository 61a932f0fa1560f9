"""python -m benchmarks runs them all, but for cifar10_speed: that takes half an hour and is asked for by its name."""

from benchmarks import autograd_engine, training_loop

if __name__ == "__main__":
    autograd_engine.main()
    training_loop.main()
