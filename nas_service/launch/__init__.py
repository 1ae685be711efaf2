"""Workers started elsewhere: one module an engine. What they start is always `nas worker`.

The workers know of each other only through the store, so an engine has nothing to coordinate: it
starts N equal processes, and may kill and start them again as it likes.
"""
