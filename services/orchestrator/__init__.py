"""The orchestrator: what is looked for, who is where, which rule holds, and the incident that follows."""
