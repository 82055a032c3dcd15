"""What the family `ultralytics` is made of: the package kept quiet, checkpoints opened, phrases.

The package ultralytics and its weights are under AGPL-3.0: an extra that the operator chooses.
"""
