{{- define "cloud-dragon.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough for what Kubernetes and the chart put behind it. */}}
{{- define "cloud-dragon.fullname" -}}
{{- $name := include "cloud-dragon.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "cloud-dragon.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cloud-dragon.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Those of the server's pods. The pod of `helm test` is of another component: services must not send it requests. */}}
{{- define "cloud-dragon.serverLabels" -}}
{{ include "cloud-dragon.selectorLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{- define "cloud-dragon.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cloud-dragon.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cloud-dragon.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "cloud-dragon.fullname" .) "default") }}
{{- end }}

{{- define "cloud-dragon.tokensSecret" -}}
{{- if .Values.auth.tokens }}{{ include "cloud-dragon.fullname" . }}-tokens{{ else }}{{ .Values.auth.tokensSecret.name }}{{ end }}
{{- end }}
