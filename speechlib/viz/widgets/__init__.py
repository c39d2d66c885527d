"""Widgets that run in the page: plain ES modules sent by anywidget, no bundler, no CDN."""
