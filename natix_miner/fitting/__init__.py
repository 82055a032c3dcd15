"""Learning the consensus from labelled opinions: calibration, pools, their choice, the routing."""
