"""Monitoring: scrape targets, recording rules, alerts, objectives and dashboards.

`make dashboards` generates Grafana's dashboards, the rules of the objectives, and a PrometheusRule with all rules for
Kubernetes.
"""
