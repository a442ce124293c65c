{{- /* What clients need. The rest stays inside the cluster. */}}
{{- define "cloud-dragon.clientPaths" -}}
- db
- watch
- list
{{- end }}
