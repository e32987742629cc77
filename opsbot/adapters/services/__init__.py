"""Service managers: systemd and supervisord behind the same words."""
