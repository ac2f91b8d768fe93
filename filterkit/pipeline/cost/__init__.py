"""What a filter's labelling, training and serving cost, against asking the oracle for everything."""
