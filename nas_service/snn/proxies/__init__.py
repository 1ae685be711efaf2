"""Training-free proxies of accuracy; `PROXIES` in nas_service.metrics is their table."""
