"""What each key of a study file means, for docs/study_file.py: unit, meaning and one example."""

from typing import NamedTuple


class About(NamedTuple):
    """One key: its unit, empty for none; its meaning; an example as TOML."""

    unit: str
    meaning: str
    example: str


KEYS = {
    "name": About("", "name of the study in its store", '"digits"'),
    "seed": About("", "seed of everything random: proposals, weights, order of images", "1"),
    "space.kind": About("", "kind of the space: cells of four nodes", '"cells"'),
    "space.operations": About(
        "", "a preset of operations, or their names (spaces.md)", '["zeroize", "skip", "conv3x3"]'
    ),
    "space.mode": About("", "whether edges may lead back, one time step late", '"backward"'),
    "space.cells": About("cells", "number of cells, one after the other", "2"),
    "space.shared": About("", "whether all cells are equal, as in SNASNet", "true"),
    "space.channels": About(
        "channels",
        "width of the first cell, doubled from cell to cell; or a list for each cell",
        "[8, 12, 16]",
    ),
    "space.stem_stride": About("pixels", "stride of the first convolution", "2"),
    "space.head_pool": About(
        "pixels", 'side of the pooling before the readout; 0 or "global": the whole map', "[2, 4]"
    ),
    "space.hidden": About("neurons", "size of the hidden layer of the readout", "[32, 64]"),
    "space.time_steps": About("steps", "time steps of an inference", "[2, 4]"),
    "space.threshold": About("", "threshold of the neurons", "[0.5, 1.0]"),
    "space.weight_bits": About("bits", "bits of a weight", "[4, 8]"),
    "space.bits_of": About("", "what has its own number of bits", '"layer"'),
    "space.deduplicate_by": About(
        "", "one candidate is a function, or each way to write a cell", '"genotype"'
    ),
    "data.name": About("", "name of the data set (`nas data` lists them)", '"digits"'),
    "data.archive": About(
        "", "file or folder below the data folder; none: its usual name", '"pets"'
    ),
    "data.size": About("pixels", "side of the images of an image_folder", "32"),
    "data.classes": About("classes", "number of classes of an image_folder", "10"),
    "data.channels": About("channels", "of an image_folder: 1 for grey, 3 for colour", "3"),
    "data.resize": About(
        "", "crop to the middle and scale images of another size, of an image_folder", "true"
    ),
    "data.train_samples": About(
        "images", "images to train with; none: all that are not held out", "512"
    ),
    "data.validation_samples": About(
        "images", "images held out for validation; none: the data set's own share", "256"
    ),
    "data.split_seed": About("", "seed of the choice of these images", "1"),
    "network.votes": About("", "outputs that are averaged for each class", "10"),
    "network.dropout": About("share", "share of inputs that dropout sets to 0 in training", "0.1"),
    "network.tau": About("steps", "time constant of the membrane", "2.0"),
    "network.surrogate": About("", "gradient of a spike in training", '"triangle"'),
    "network.reset": About("", "what a spike does to the membrane", '"subtract"'),
    "network.detach_reset": About("", "whether no gradient flows through the reset", "false"),
    "network.fires_at_threshold": About(
        "", "whether a membrane exactly at the threshold fires", "true"
    ),
    "network.norm": About("", "batch norm over all time steps, or over each", '"step"'),
    "network.norm_momentum": About("share", "weight of the newest batch in its statistics", "0.1"),
    "quantization.granularity": About("", "what has a step size of its own", '"tensor"'),
    "quantization.step_size": About("", "how the step size is chosen", '"learned"'),
    "quantization.mode": About(
        "", "weights are rounded while they are trained, or afterwards", '"ptq"'
    ),
    "quantization.scoring": About(
        "", "accuracy of the trained network, or of its deployed int8 form", '"int8"'
    ),
    "training.epochs": About("epochs", "length of the schedule; 0: nothing is trained", "6"),
    "training.until": About(
        "epochs", "epoch at which trainings end, and are continued when it is raised", "3"
    ),
    "training.rungs": About(
        "epochs", "epochs before the last at which a training is scored", "[2, 4]"
    ),
    "training.batch_size": About("images", "images of a batch", "32"),
    "training.optimizer": About("", "optimiser of the weights", '"sgd"'),
    "training.schedule": About("", "course of the learning rate", '"cosine"'),
    "training.learning_rate": About("", "largest learning rate; none: 0.01, with sgd 0.1", "0.01"),
    "training.weight_decay": About("", "decay of the weights; none: 0.01, with sgd 5e-4", "0.001"),
    "training.warm_up": About("share", "share of the steps in which the rate rises", "0.3"),
    "training.momentum": About("", "momentum of sgd", "0.95"),
    "training.clip": About("", "largest norm of the gradient; none: no limit", "1.0"),
    "training.crop": About("pixels", "border for random crops", "4"),
    "training.flip": About("", "mirror images left to right at random", "true"),
    "training.precision": About("", "numbers of the training", '"bf16"'),
    "training.inherit": About(
        "", "start from weights that other candidates of the study have trained", "true"
    ),
    "training.memory_GiB": About("GiB", "a candidate that needs more is rejected", "2.0"),
    "proxies.names": About(
        "", "scores of untrained networks, each the metric proxy_NAME", '["sahd"]'
    ),
    "proxies.samples": About("images", "training images that they are given", "128"),
    "hardware.profile": About("", "name of a chip profile, or a TOML file", '"rram_28nm"'),
    "hardware.overrides": About(
        "", "settings of the chip that replace the profile's", "{ adc_bits = 5 }"
    ),
    "hardware.search_space": About(
        "",
        "settings of the chip that are searched beside the cells, with their choices",
        "{ crossbar_size = [32, 64] }",
    ),
    "hardware.assumed_rate": About(
        "share", "spike rate before a training: over a budget even so is rejected", "0.05"
    ),
    "hardware.monte_carlo_chips": About(
        "chips", "imperfect chips that are simulated for accuracy_on_chip", "8"
    ),
    "hardware.record": About(
        "", "what is kept of a training's spikes: rates, or also inputs of each layer", '"traces"'
    ),
    "search.sampler": About("", "what proposes candidates (search.md)", '"greybox"'),
    "search.constraint_order": About(
        "",
        "budgets in the order in which neuronas checks them; none: the study's",
        '["area_mm2", "parameters"]',
    ),
    "search.repair": About("", "propose the cheapest repair of a rejected candidate next", "true"),
    "search.warm_start_from": About(
        "", "studies of the store that greybox learns from", '["first"]'
    ),
    "search.initial": About("", "the first trials (search.md)", '["extremes", "cheapest"]'),
    "search.reduction_factor": About(
        "", "successive halving: one in this many at a rung is promoted; none: no halving", "3"
    ),
    "search.trainings": About("trainings", "trainings of the study", "80"),
    "search.proposals_per_training": About(
        "proposals", "most proposals for each training, rejected ones included", "20"
    ),
    "search.seconds": About("s", "most time in which workers worked; none: no limit", "3600.0"),
    "search.early_stop.patience": About(
        "trainings", "trainings in a row that gained too little", "10"
    ),
    "search.early_stop.min_gain": About("share", "least gain of hypervolume, relative", "0.01"),
    "search.max_attempts": About("attempts", "attempts at a trial whose worker was lost", "2"),
    "search.max_failures": About("trials", "failed trials; more of them end the search", "5"),
    "objectives.metric": About("", "a metric to optimise, one of those below", '"accuracy"'),
    "objectives.direction": About("", "which values are better", '"maximize"'),
    "objectives.reference": About(
        "the metric's", "worst value that counts; none: a cost's budget, or 0", "0.8"
    ),
    "objectives.ideal": About(
        "the metric's", "best value there can be; none: the metric's own, 0 for a cost", "1.0"
    ),
    "constraints.metric": About("", "a metric that is limited, one of those below", '"area_mm2"'),
    "constraints.at_most": About("the metric's", "upper limit; one of the two is needed", "5.5"),
    "constraints.at_least": About("the metric's", "lower limit", "0.9"),
    "constraints.confidence": About(
        "share",
        "that the chip keeps it, given the ranges of its figures; none: its estimate",
        "0.9",
    ),
}
