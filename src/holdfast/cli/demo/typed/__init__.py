"""The demo's last acts: the typed clients against the reference servers, which fail on purpose."""
