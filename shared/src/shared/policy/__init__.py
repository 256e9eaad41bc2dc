"""The policy as data: `policy.yaml` holds the numbers, `model` gives them types and one version hash."""
