"""A trained model on pictures: files, folders, pairs, packed datasets."""
