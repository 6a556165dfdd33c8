"""An exam of pre-trained runs that is the same for every recipe; timings are in ``benchmarks/``, beside the package."""
