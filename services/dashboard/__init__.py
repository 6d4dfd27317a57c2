"""Dashboard: the operator's console. Hears what happens live and shows it in the browser; it stores nothing."""
