"""What `make bench` runs: save → live, idle CPU and job throughput, ours beside its peers."""
