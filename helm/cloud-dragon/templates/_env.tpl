{{- /* The server's variables, as far as the chart sets them. Those without a value are left out: the server has defaults of
its own. */}}
{{- define "cloud-dragon.ownEnv" -}}
{{- $values := .Values }}
{{- $plain := dict
  "DRAGON_LISTEN" (printf "%s:8080" $values.listenAddress)
  "DRAGON_DRAIN_DELAY" $values.drainDelay
  "DRAGON_MAX_CONNECTIONS" $values.maxConnections
  "DRAGON_LOG" $values.log
  "DRAGON_LOG_FORMAT" $values.logFormat
  "DRAGON_ACCESS_LOG" $values.accessLog
  "DRAGON_ALLOW_HOST" (join "," $values.allowHosts)
  "DRAGON_QUOTA_REQUESTS" $values.quotas.requests
  "DRAGON_QUOTA_WAITING" $values.quotas.waiting
  "DRAGON_QUOTA_BYTES" $values.quotas.bytes
  "DRAGON_OTLP_ENDPOINT" $values.tracing.endpoint
  "DRAGON_TRACE_RATIO" $values.tracing.ratio
}}
{{- range $name, $limit := $values.limits }}
  {{- $_ := set $plain (printf "DRAGON_LIMIT_%s" (snakecase $name | upper)) $limit }}
{{- end }}
{{- if include "cloud-dragon.hasTokens" . }}
  {{- $_ := set $plain "DRAGON_TOKENS" "/etc/cloud-dragon/tokens/tokens.toml" }}
{{- end }}
{{- if include "cloud-dragon.isAdminPortOpen" . }}
  {{- $_ := set $plain "DRAGON_ADMIN_LISTEN" (printf "%s:9090" $values.listenAddress) }}
{{- else if $values.tls.clientCASecretName }}
  {{- /* For the probes, which run in the pod. */}}
  {{- $_ := set $plain "DRAGON_ADMIN_LISTEN" "127.0.0.1:9090" }}
{{- end }}
{{- /* Where tokens are asked for, this is about the admin port only. */}}
{{- if or $values.auth.insecure (include "cloud-dragon.isAdminPortOpen" .) }}
  {{- $_ := set $plain "DRAGON_INSECURE_NO_AUTH" "true" }}
{{- end }}
{{- with $values.tls }}
  {{- if .secretName }}
    {{- $_ := set $plain "DRAGON_TLS_CERT" "/etc/cloud-dragon/tls/tls.crt" }}
    {{- $_ := set $plain "DRAGON_TLS_KEY" "/etc/cloud-dragon/tls/tls.key" }}
  {{- end }}
  {{- if .clientCASecretName }}
    {{- $_ := set $plain "DRAGON_TLS_CLIENT_CA" "/etc/cloud-dragon/client-ca/ca.crt" }}
  {{- end }}
{{- end }}
{{- with $values.backups }}
  {{- if .to }}
    {{- $_ := merge $plain (dict
      "DRAGON_BACKUP_TO" .to
      "DRAGON_BACKUP_EVERY" .every
      "DRAGON_BACKUP_KEEP" .keep
      "DRAGON_BACKUP_PATH_STYLE" (.pathStyle | ternary "true" "")
      "DRAGON_BACKUP_SSE" .sse
      "DRAGON_BACKUP_SSE_KMS_KEY" .sseKmsKey
      "DRAGON_BACKUP_AGE_RECIPIENT" (join "," .ageRecipients)
      "AWS_REGION" .region
      "AWS_ENDPOINT_URL" .endpoint
    ) }}
  {{- end }}
{{- end }}
{{- if eq $values.store.kind "embedded" }}
  {{- $_ := merge $plain (dict
    "DRAGON_STORE" "embedded:/data/store"
    "DRAGON_LOG_FILE_BYTES" $values.store.embedded.logFileBytes
  ) }}
{{- else if eq $values.store.kind "postgres" }}
  {{- with $values.store.postgres }}
    {{- $_ := merge $plain (dict
      "DRAGON_POSTGRES_CONNECTIONS" .connections
      "DRAGON_POSTGRES_STATEMENT_TIMEOUT" .statementTimeout
      "DRAGON_POSTGRES_PASSWORD_FILE" (.passwordSecret.name | empty | ternary "" "/etc/cloud-dragon/postgres-password/password")
      "PGSSLMODE" (.caSecret.name | empty | ternary "" "verify-full")
      "PGSSLROOTCERT" (.caSecret.name | empty | ternary "" "/etc/cloud-dragon/postgres-ca/ca.crt")
    ) }}
  {{- end }}
{{- else }}
  {{- with $values.store.foundationdb }}
    {{- $_ := set $plain "DRAGON_STORE" (printf "fdb:/var/dynamic-conf/fdb.cluster?prefix=%s" .prefix) }}
    {{- if .tlsSecret }}
      {{- $_ := merge $plain (dict
        "FDB_TLS_CERTIFICATE_FILE" "/etc/cloud-dragon/foundationdb-tls/tls.crt"
        "FDB_TLS_KEY_FILE" "/etc/cloud-dragon/foundationdb-tls/tls.key"
        "FDB_TLS_CA_FILE" "/etc/cloud-dragon/foundationdb-tls/ca.crt"
        "FDB_TLS_VERIFY_PEERS" .tlsVerifyPeers
      ) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- range $name, $value := $plain }}
  {{- /* Helm reads numbers as floating-point ones, and would write a large one as 1e+06. */}}
  {{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end }}
  {{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- if eq $values.store.kind "postgres" }}
- name: DRAGON_STORE
  valueFrom:
    secretKeyRef:
  {{- with $values.store.postgres.existingSecret }}
      name: {{ .name | default (printf "%s-store" (include "cloud-dragon.fullname" $)) }}
      key: {{ .name | empty | ternary "url" .key }}
  {{- end }}
{{- end }}
{{- with $values.backups.credentialsSecret }}
  {{- if .name }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .accessKeyIdKey }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .secretAccessKeyKey }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "cloud-dragon.env" -}}
{{- include "cloud-dragon.ownEnv" . }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
