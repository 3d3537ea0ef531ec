"""The processors, one folder each, named after its ref: ns/name@1 lives in ns_name/."""
