"""A run: the loop's stages in order, journalled so that it can be read, watched and resumed."""
