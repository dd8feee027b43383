"""imagemill takes a pile of images to a training-ready dataset, and feeds it to PyTorch."""

__version__ = "0.1.0"
