"""The explorer: seeded random schedules of faults against a whole scene, judged by what no fault excuses."""
