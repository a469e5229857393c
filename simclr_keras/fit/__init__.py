"""`simclr fit`: from photos and labels to the best classifier, by cross-validation, with one page about it."""
