"""What everything stands on: errors, files, leases, artefacts, work on all cores."""
