"""The evaluation: tasks on real hosts with injected faults, graded by records and end states, for any model."""
