"""Stage two: the mean-reverting bridge, its noise, and the network that predicts the clean photo."""
