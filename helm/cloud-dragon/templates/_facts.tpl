{{- /* What follows from the values. Those that say yes say "true", others nothing. */}}

{{- define "cloud-dragon.isStateless" -}}
{{- if ne .Values.store.kind "embedded" }}true{{ end }}
{{- end }}

{{- define "cloud-dragon.hasTokens" -}}
{{- if include "cloud-dragon.tokensSecret" . }}true{{ end }}
{{- end }}

{{- /* Whether others than the pod itself reach the admin port, at which no token is asked for and no certificate. */}}
{{- define "cloud-dragon.isAdminPortOpen" -}}
{{- if and .Values.metrics.enabled (not .Values.metrics.bearerTokenSecret.name) }}true{{ end }}
{{- end }}

{{- /* Whether credentials for backups have to come from the machine, or from an agent on it. */}}
{{- define "cloud-dragon.hasMachineRole" -}}
{{- $annotations := .Values.serviceAccount.create | ternary .Values.serviceAccount.annotations nil | default dict }}
{{- $hasOwnRole := hasKey $annotations "eks.amazonaws.com/role-arn" }}
{{- if and .Values.backups.to (not .Values.backups.credentialsSecret.name) (not $hasOwnRole) }}true{{ end }}
{{- end }}

{{- define "cloud-dragon.scheme" -}}
{{- .Values.tls.secretName | empty | ternary "http" "https" }}
{{- end }}

{{- /* Seconds: the contract's longest LockWait and Wait, and what a proxy has to allow for them. */}}
{{- define "cloud-dragon.longestPoll" -}}300{{- end }}
{{- define "cloud-dragon.proxyTimeout" -}}
{{- add (include "cloud-dragon.longestPoll" .) 30 }}
{{- end }}

{{- /* The port in an address, or the usual one of its scheme. */}}
{{- define "cloud-dragon.portOf" -}}
{{- $url := urlParse . }}
{{- $usual := dict "http" "80" "https" "443" "postgres" "5432" "postgresql" "5432" }}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (get $usual $url.scheme) | default "443" }}
{{- end }}

{{- /* Whether `helm test` can do anything. */}}
{{- define "cloud-dragon.isTestable" -}}
{{- $hasToken := or .Values.auth.insecure .Values.tests.tokenSecret.name }}
{{- $hasCertificate := or (not .Values.tls.clientCASecretName) .Values.tests.clientCertSecret }}
{{- if and $hasToken $hasCertificate }}true{{ end }}
{{- end }}
