"""Workers on other machines: one module for each engine that starts them.

Every engine starts `nas worker`. Workers communicate through the store alone, so an engine has
nothing to coordinate: it starts N equal processes, and may kill and restart them at any time.
"""
