"""python -m benchmarks runs the short ones; cifar10_speed, grading and sweep take long and are asked for by name."""

from benchmarks import autograd_engine, training_loop

if __name__ == "__main__":
    autograd_engine.main()
    training_loop.main()
