{{- /* What is mounted into the server, each with the volume that it is on. The files of secrets keep their own names, not
those of the keys, so that settings need not know of keys. Whole folders are mounted: only those follow a secret's changes. */}}
{{- define "cloud-dragon.files" -}}
- name: tmp
  mountPath: /tmp
  volume:
    emptyDir:
      sizeLimit: 64Mi
{{- with include "cloud-dragon.tokensSecret" . }}
{{- $key := $.Values.auth.tokens | empty | ternary $.Values.auth.tokensSecret.key "tokens.toml" }}
- {{ include "cloud-dragon.secretFile" (dict "name" "tokens" "secret" . "key" $key "file" "tokens.toml") | nindent 2 | trim }}
{{- end }}
{{- with .Values.tls }}
  {{- with .secretName }}
- {{ include "cloud-dragon.secretFile" (dict "name" "tls" "secret" .) | nindent 2 | trim }}
  {{- end }}
  {{- with .clientCASecretName }}
- {{ include "cloud-dragon.secretFile" (dict "name" "client-ca" "secret" . "key" "ca.crt" "file" "ca.crt") | nindent 2 | trim }}
  {{- end }}
{{- end }}
{{- if eq .Values.store.kind "embedded" }}
- name: data
  mountPath: /data
{{- else if eq .Values.store.kind "postgres" }}
  {{- with .Values.store.postgres.passwordSecret }}
    {{- if .name }}
- {{ include "cloud-dragon.secretFile" (dict "name" "postgres-password" "secret" .name "key" .key "file" "password") | nindent 2 | trim }}
    {{- end }}
  {{- end }}
  {{- with .Values.store.postgres.caSecret }}
    {{- if .name }}
- {{ include "cloud-dragon.secretFile" (dict "name" "postgres-ca" "secret" .name "key" .key "file" "ca.crt") | nindent 2 | trim }}
    {{- end }}
  {{- end }}
{{- else }}
- name: dynamic-conf
  mountPath: /var/dynamic-conf
  volume:
    emptyDir:
      sizeLimit: 1Mi
  {{- with .Values.store.foundationdb.tlsSecret }}
- {{ include "cloud-dragon.secretFile" (dict "name" "foundationdb-tls" "secret" .) | nindent 2 | trim }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* A secret, or one `key` of it as `file`, readable for the pod's group only. */}}
{{- define "cloud-dragon.secretFile" -}}
name: {{ .name }}
mountPath: /etc/cloud-dragon/{{ .name }}
readOnly: true
volume:
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    {{- with .key }}
    items:
      - key: {{ . }}
        path: {{ $.file }}
    {{- end }}
{{- end }}
