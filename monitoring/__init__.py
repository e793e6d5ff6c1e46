"""How the system is watched: what is scraped, rules, alerts, objectives and dashboards.

`make dashboards` writes what is generated from here: Grafana's dashboards, the rules of the objectives, and all rules
as a PrometheusRule for Kubernetes.
"""
