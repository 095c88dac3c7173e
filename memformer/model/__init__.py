"""The decoder: a local window, a memory, and the fraction of the novel."""
