{{/* Labels of every object. */}}
{{- define "studyroom.labels" -}}
app.kubernetes.io/part-of: studyroom
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Metadata of an object in the namespace: (list . NAME). */}}
{{- define "studyroom.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels: {{- include "studyroom.labels" $root | nindent 2 }}
{{- end }}

{{- define "studyroom.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Addresses of the NATS servers, by their names in the headless Service. */}}
{{- define "studyroom.natsUrl" -}}
{{- $urls := list -}}
{{- range $i := until (int .Values.nats.replicas) }}{{ $urls = append $urls (printf "nats://nats-%d.nats:4222" $i) }}{{ end -}}
{{- join "," $urls -}}
{{- end }}

{{/* Settings of all services, as a map in YAML: those of k8s/base, what the values of the chart mean, and `settings`. */}}
{{- define "studyroom.settings" -}}
{{- $settings := dict -}}
{{- range .Files.Lines "files/settings.env" }}
  {{- if and . (not (hasPrefix "#" .)) }}
    {{- $pair := splitn "=" 2 . }}
    {{- $_ := set $settings $pair._0 $pair._1 }}
  {{- end }}
{{- end }}
{{- $_ := set $settings "STUDYROOM_NATS_URL" (include "studyroom.natsUrl" .) }}
{{- $_ := set $settings "STUDYROOM_STORAGE_REPLICAS" (toString .Values.nats.replicas) }}
{{- $_ := set $settings "STUDYROOM_GATEWAY_HOSTS" .Values.host }}
{{- $_ := set $settings "STUDYROOM_GATEWAY_TRUSTED_PROXIES" (join "," .Values.trustedProxies) }}
{{- if .Values.nats.tls.enabled }}
  {{- $_ := set $settings "STUDYROOM_NATS_TLS_CA_FILE" "/tls/ca.crt" }}
  {{- $_ := set $settings "STUDYROOM_NATS_TLS_CERT_FILE" "/tls/tls.crt" }}
  {{- $_ := set $settings "STUDYROOM_NATS_TLS_KEY_FILE" "/tls/tls.key" }}
{{- end }}
{{- with .Values.identityProvider }}
  {{- if .jwksUrl }}
    {{- $_ := set $settings "STUDYROOM_GATEWAY_JWKS_URL" .jwksUrl }}
    {{- $_ := set $settings "STUDYROOM_GATEWAY_JWT_ISSUER" .issuer }}
    {{- $_ := set $settings "STUDYROOM_GATEWAY_JWT_AUDIENCE" .audience }}
  {{- end }}
{{- end }}
{{- if .Values.hooks.url }}
  {{- $_ := set $settings "STUDYROOM_HOOKS_URL" .Values.hooks.url }}
  {{- $_ := set $settings "STUDYROOM_STORAGE_HOOKS_MAX_AGE_SECONDS" (toJson .Values.hooks.keepSeconds) }}
{{- end }}
{{- range $name, $value := .Values.settings }}
  {{- /* Helm reads numbers as floats. */}}
  {{- if kindIs "float64" $value }}{{ $value = $value | toJson }}{{ end }}
  {{- $_ := set $settings $name (toString $value) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{/* The pod's securityContext: (list . USER). */}}
{{- define "studyroom.podSecurity" -}}
{{- $root := index . 0 -}}
runAsNonRoot: true
{{- if not $root.Values.openshift }}
runAsUser: {{ index . 1 }}
runAsGroup: {{ index . 1 }}
{{- end }}
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "studyroom.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* What the values say about where pods run: the values of a workload. */}}
{{- define "studyroom.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A container of Studyroom begins with this. */}}
{{- define "studyroom.imageAndSettings" -}}
image: {{ include "studyroom.image" . }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
envFrom:
  - configMapRef: { name: studyroom-settings }
{{- end }}

{{/* The user of NATS of a container: (list . USER). */}}
{{- define "studyroom.natsUser" -}}
{{- $root := index . 0 -}}
- { name: STUDYROOM_NATS_USER, value: {{ index . 1 }} }
- name: STUDYROOM_NATS_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ $root.Values.secrets.nats }}, key: {{ index . 1 }} } }
{{- end }}

{{/* A service of Studyroom. The keys: root, name, values, priority, grace, readyEverySeconds, replicas, strategy, spread, and
the YAML of env, ports and lifecycle. */}}
{{- define "studyroom.deployment" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "studyroom.metadata" (list .root .name) | nindent 2 }}
automountServiceAccountToken: false
---
apiVersion: apps/v1
kind: Deployment
metadata: {{- include "studyroom.metadata" (list .root .name) | nindent 2 }}
spec:
  {{- with .replicas }}
  replicas: {{ . }}
  {{- end }}
  strategy: {{- .strategy | nindent 4 }}
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ .name }}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {{ .name }}
        app.kubernetes.io/part-of: studyroom
        studyroom/nats-client: "true"
      annotations:
        # A changed setting restarts the pods.
        checksum/settings: {{ include "studyroom.settings" .root | sha256sum }}
        {{- with .values.podAnnotations }}{{ toYaml . | nindent 8 }}{{ end }}
    spec:
      serviceAccountName: {{ .name }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      priorityClassName: studyroom-{{ .priority }}
      enableServiceLinks: false
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: {{ .grace }}
      securityContext:
        {{- include "studyroom.podSecurity" (list .root 10001) | nindent 8 }}
        {{- if and .root.Values.nats.tls.enabled (not .root.Values.openshift) }}
        fsGroup: 10001
        {{- end }}
      {{- if .spread }}
      topologySpreadConstraints:
        {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: { matchLabels: { app.kubernetes.io/name: {{ $.name }} } }
          matchLabelKeys: [pod-template-hash]
        {{- end }}
      {{- end }}
      {{- with include "studyroom.scheduling" .values }}{{ . | nindent 6 }}{{ end }}
      containers:
        - name: {{ .name }}
          {{- include "studyroom.imageAndSettings" .root | nindent 10 }}
          args: [{{ .name }}]
          env:
            {{- include "studyroom.natsUser" (list .root .name) | nindent 12 }}
            {{- with .env }}{{ . | nindent 12 }}{{ end }}
          ports:
            {{- with .ports }}{{ . | nindent 12 }}{{ end }}
            - { name: admin, containerPort: 8081 }
          {{- with .lifecycle }}
          lifecycle: {{- . | nindent 12 }}
          {{- end }}
          livenessProbe:
            httpGet: { path: /healthz, port: admin }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
            terminationGracePeriodSeconds: 5
          readinessProbe:
            httpGet: { path: /readyz, port: admin }
            periodSeconds: {{ .readyEverySeconds }}
            timeoutSeconds: 2
            failureThreshold: 2
          securityContext: {{- include "studyroom.containerSecurity" . | nindent 12 }}
          resources: {{- toYaml .values.resources | nindent 12 }}
          {{- if .root.Values.nats.tls.enabled }}
          volumeMounts:
            - { name: tls, mountPath: /tls, readOnly: true }
          {{- end }}
      {{- if .root.Values.nats.tls.enabled }}
      volumes:
        - name: tls
          secret: { secretName: studyroom-{{ .name }}-nats-tls, defaultMode: 0440 }
      {{- end }}
{{- end }}

{{/* A PodDisruptionBudget: (list . NAME). A pod that is not ready must not block the drain of a node. */}}
{{- define "studyroom.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "studyroom.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ index . 1 }}
{{- end }}

{{/* The pod of a job. The keys: root, name, args, user of NATS, certificate, cpu, and whether it has the volume of backups. */}}
{{- define "studyroom.jobPod" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "studyroom.podSecurity" (list .root 10001) | nindent 2 }}
  {{- if not .root.Values.openshift }}
  fsGroup: 10001
  {{- end }}
  {{- if .volume }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
containers:
  - name: {{ .name }}
    {{- include "studyroom.imageAndSettings" .root | nindent 4 }}
    args: {{ .args | toJson }}
    env:
      {{- include "studyroom.natsUser" (list .root .user) | nindent 6 }}
    securityContext: {{- include "studyroom.containerSecurity" . | nindent 6 }}
    resources:
      requests: { cpu: {{ .cpu }}, memory: 96Mi }
      limits: { memory: 256Mi }
    volumeMounts:
      {{- if .volume }}
      - { name: backup, mountPath: /backup }
      {{- end }}
      - { name: tls, mountPath: /tls, readOnly: true }
volumes:
  {{- if .volume }}
  - name: backup
    persistentVolumeClaim: { claimName: backup }
  {{- end }}
  - name: tls
    secret: { secretName: studyroom-{{ .certificate }}-nats-tls, optional: true, defaultMode: 0440 }
{{- end }}

{{/* The pod of the probe. The keys: root, args, and whether it makes one pass. */}}
{{- define "studyroom.probePod" -}}
{{- if .once }}
restartPolicy: Never
{{- else }}
serviceAccountName: probe
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "studyroom.podSecurity" (list .root 10001) | nindent 2 }}
  {{- if and .once (not .root.Values.openshift) }}
  fsGroup: 10001
  {{- end }}
{{- with include "studyroom.scheduling" .root.Values.probe }}{{ . | nindent 0 }}{{ end }}
containers:
  - name: probe
    {{- include "studyroom.imageAndSettings" .root | nindent 4 }}
    args: {{ .args | toJson }}
    env:
      - name: STUDYROOM_PROBE_URL
        value: {{ .root.Values.probe.url | default (printf "wss://%s/ws" .root.Values.host) }}
      # With it the probe signs its own tokens.
      - name: STUDYROOM_GATEWAY_JWT_SECRET
        valueFrom: { secretKeyRef: { name: {{ .root.Values.secrets.gateway }}, key: jwt-secret, optional: true } }
    {{- if not .once }}
    ports:
      - { name: admin, containerPort: 8081 }
    livenessProbe:
      httpGet: { path: /healthz, port: admin }
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 3
      terminationGracePeriodSeconds: 5
    {{- end }}
    securityContext: {{- include "studyroom.containerSecurity" . | nindent 6 }}
    resources: {{- toYaml .root.Values.probe.resources | nindent 6 }}
{{- end }}
