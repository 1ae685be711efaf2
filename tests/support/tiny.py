"""Studies so small that a test runs them through: their first lines, which tests complete."""

SPACE = """
name = "tiny"
seed = 3
[space]
operations = "light3"
channels = [4, 8]
head_pool = [2, 4]
hidden = [16, 32]
time_steps = [2, 3]
weight_bits = [4, 8]
"""
ACCURATE = """
[[objectives]]
metric = "accuracy"
direction = "maximize"
"""
# Eight epochs of a part of the digits, within a budget that some keep.
BUDGETED = f"""{SPACE}
[data]
name = "digits"
train_samples = 256
validation_samples = 128
[training]
epochs = {{epochs}}
[search]
sampler = "random"
trainings = {{trainings}}
{ACCURATE}
[[constraints]]
metric = "energy_uJ"
at_most = 0.8
"""
# Cells alone differ, and one epoch of 64 images.
QUICK = f"""
name = "tiny"
[space]
operations = "light3"
channels = 4
head_pool = 2
hidden = 16
time_steps = 2
[data]
name = "digits"
train_samples = 64
validation_samples = 32
[training]
epochs = 1
[search]
sampler = "random"
trainings = {{trainings}}
{ACCURATE}
"""
