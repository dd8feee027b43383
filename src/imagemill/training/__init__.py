"""Networks trained on pairs, on corrupted images, on masks; and what becomes of pictures that they are shown."""
