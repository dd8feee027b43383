"""Pages that people read: one offline HTML page about a dataset."""
