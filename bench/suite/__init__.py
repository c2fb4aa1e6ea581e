"""All benchmarks as one table: what was measured, beside budgets, references and peers."""
