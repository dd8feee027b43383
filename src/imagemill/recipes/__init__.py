"""One TOML file for the whole way: which steps, what each was made from, what is still to be done."""
