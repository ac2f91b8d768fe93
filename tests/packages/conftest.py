"""The sample dist's own tests run where it is installed; test_sample_dist.py sees to that."""

collect_ignore = ["filterkit-sample"]
