"""The demo: a real miner process, a real signed dendrite in another, bundled queries, a report."""
