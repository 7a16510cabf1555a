"""What a router on the way costs: latency, throughput, streams and memory use, beside its peers."""
