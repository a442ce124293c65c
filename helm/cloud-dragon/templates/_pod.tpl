{{- /* The pods' template, the same for both kinds of workload. */}}
{{- define "cloud-dragon.pod" -}}
{{- $files := include "cloud-dragon.files" . | fromYamlArray -}}
metadata:
  labels:
    {{- include "cloud-dragon.serverLabels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- /* The store's address is read at the start only. Tokens and certificates are read again by the server itself.
  Who may see pods need not see secrets, so the password is left out: by a digest of it guesses could be tried. */}}
  {{- $url := regexReplaceAll "^([a-z]+://[^:/?#]*):[^/?#]*@" .Values.store.postgres.url "${1}@" }}
  {{- $url = regexReplaceAll "([?&]password=)[^&#]*" $url "${1}" }}
  {{- $address := list $url .Values.store.foundationdb.clusterFile | compact }}
  {{- if or .Values.podAnnotations $address }}
  annotations:
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if $address }}
    checksum/store: {{ join "" $address | sha256sum | quote }}
    {{- end }}
  {{- end }}
spec:
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  serviceAccountName: {{ include "cloud-dragon.serviceAccountName" . }}
  # The server asks the cluster for nothing. A role for backups comes with a token of its own.
  automountServiceAccountToken: false
  # Variables that Kubernetes makes of services' names could be taken for settings: a service `dragon` makes DRAGON_PORT.
  enableServiceLinks: false
  # The longest long-poll, the drain delay, and 30 seconds for requests under way and the closing of the store. A server that
  # is told to stop answers long-polls at once, so this is seldom used up.
  terminationGracePeriodSeconds: {{ add (include "cloud-dragon.longestPoll" .) .Values.drainDelay 30 }}
  securityContext:
    {{- include "cloud-dragon.podSecurityContext" . | nindent 4 }}
  {{- if eq .Values.store.kind "foundationdb" }}
  {{- include "cloud-dragon.clusterFileCopier" . | nindent 2 }}
  {{- end }}
  containers:
    - name: cloud-dragon
      image: {{ include "cloud-dragon.image" .Values.image | default (printf "%s:%s" .Values.image.repository .Chart.AppVersion) }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      env:
        {{- include "cloud-dragon.env" . | trim | nindent 8 }}
      ports:
        - name: http
          containerPort: 8080
        {{- if include "cloud-dragon.isAdminPortOpen" . }}
        - name: admin
          containerPort: 9090
        {{- end }}
      {{- include "cloud-dragon.probes" . | nindent 6 }}
      securityContext:
        {{- include "cloud-dragon.securityContext" . | nindent 8 }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- range $files }}
        - {{ omit . "volume" | toYaml | nindent 10 | trim }}
        {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if include "cloud-dragon.isStateless" . }}
  {{- with include "cloud-dragon.spread" . }}
  topologySpreadConstraints:
    {{- . | trim | nindent 4 }}
  {{- end }}
  {{- end }}
  volumes:
    {{- range $files }}
    {{- if .volume }}
    - {{ merge (dict "name" .name) .volume | toYaml | nindent 6 | trim }}
    {{- end }}
    {{- end }}
    {{- if eq .Values.store.kind "foundationdb" }}
    - name: cluster-file
      configMap:
        {{- with .Values.store.foundationdb.clusterFileConfigMap }}
        name: {{ .name | default (printf "%s-store" (include "cloud-dragon.fullname" $)) }}
        items:
          - key: {{ .name | empty | ternary "cluster-file" .key }}
            path: fdb.cluster
        {{- end }}
    {{- end }}
{{- end }}

{{- define "cloud-dragon.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else if .tag }}{{ .repository }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "cloud-dragon.probes" -}}
{{- if .Values.tls.clientCASecretName -}}
{{- $health := list "/usr/local/bin/cloud-dragon" "health" "--server" "http://127.0.0.1:9090" -}}
# The kubelet has no certificate to show, so the program is asked from inside, at the admin port.
# Nothing is answered before an embedded store has been checked.
startupProbe:
  exec: { command: [{{ append $health "--live" | join ", " }}] }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div (add .Values.startupSeconds 1) 2 }}
livenessProbe:
  exec: { command: [{{ append $health "--live" | join ", " }}] }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  exec: { command: [{{ join ", " $health }}] }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- else -}}
{{- $scheme := include "cloud-dragon.scheme" . | upper -}}
# Nothing is answered before an embedded store has been checked; connections are accepted before.
startupProbe:
  httpGet: { path: /health/live, port: http, scheme: {{ $scheme }} }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div (add .Values.startupSeconds 1) 2 }}
# A server that has all the connections it may have refuses requests on others, and needs no new start.
livenessProbe:
  tcpSocket: { port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /health/ready, port: http, scheme: {{ $scheme }} }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}
{{- end }}

{{- /* The init container of the FoundationDB operator's own clients. */}}
{{- define "cloud-dragon.clusterFileCopier" -}}
initContainers:
  - name: foundationdb-kubernetes-init
    image: {{ .Values.store.foundationdb.initImage }}
    args:
      - --mode=init
      - --input-dir=/var/input-files
      - --output-dir=/var/output-files
      - --copy-file=fdb.cluster
      - --require-not-empty=fdb.cluster
    securityContext:
      {{- include "cloud-dragon.securityContext" . | nindent 6 }}
    {{- with .Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: cluster-file
        mountPath: /var/input-files
        readOnly: true
      - name: dynamic-conf
        mountPath: /var/output-files
{{- end }}

{{- define "cloud-dragon.spread" -}}
{{- if not (kindIs "invalid" .Values.topologySpreadConstraints) }}
{{- with .Values.topologySpreadConstraints }}
{{- toYaml . }}
{{- end }}
{{- else }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "cloud-dragon.serverLabels" $ | nindent 6 }}
  # The pods of an update are spread by themselves, not around those that they replace.
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}
