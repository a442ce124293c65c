{{- /* What the schema can't say: values that don't go together. All of them at once, so that nobody mends one after the other. */}}
{{- define "cloud-dragon.refusals" -}}
{{- $values := .Values }}
{{- $store := $values.store }}
{{- if not (include "cloud-dragon.isStateless" .) }}
  {{- if gt (int $values.replicas) 1 }}
- "replicas: an embedded store is served by one pod; say 1, or share a store of the kind postgres or foundationdb"
  {{- end }}
  {{- if $values.autoscaling.enabled }}
- "autoscaling.enabled: an embedded store is served by one pod; share a store of the kind postgres or foundationdb"
  {{- end }}
{{- end }}

{{- $postgres := list $store.postgres.url $store.postgres.existingSecret.name | compact }}
{{- $foundationdb := list $store.foundationdb.clusterFile $store.foundationdb.clusterFileConfigMap.name | compact }}
{{- if and (eq $store.kind "postgres") (ne (len $postgres) 1) }}
- "store.postgres: give the address in exactly one of url and existingSecret.name"
{{- end }}
{{- if and (eq $store.kind "foundationdb") (ne (len $foundationdb) 1) }}
- "store.foundationdb: give the cluster file in exactly one of clusterFile and clusterFileConfigMap.name"
{{- end }}
{{- if and (ne $store.kind "postgres") $postgres }}
- "store.postgres has an address, but store.kind is {{ $store.kind }}"
{{- end }}
{{- if and (ne $store.kind "foundationdb") $foundationdb }}
- "store.foundationdb has a cluster file, but store.kind is {{ $store.kind }}"
{{- end }}

{{- if ne (len (list $values.auth.tokensSecret.name $values.auth.tokens $values.auth.insecure | compact)) 1 }}
- |-
  auth: say who may come, in exactly one of these ways:
    auth.tokensSecret.name=dragon-tokens   a secret, made by
        cloud-dragon token new NAME --account '*' --right admin --tokens tokens.toml
        kubectl create secret generic dragon-tokens --from-file=tokens.toml
    auth.tokens                            the content of tokens.toml (--set-file auth.tokens=tokens.toml)
    auth.insecure=true                     everyone who can reach the server may do everything
{{- end }}
{{- if and $values.tls.clientCASecretName (not $values.tls.secretName) }}
- "tls.clientCASecretName: clients show certificates only to a server with TLS; set tls.secretName"
{{- end }}

{{- if and $values.tls.clientCASecretName (or $values.ingress.enabled $values.gateway.enabled) }}
- "tls.clientCASecretName: neither an Ingress nor a gateway passes on clients' certificates; publish the server by service.type, or go by tokens alone"
{{- end }}

{{- if and (include "cloud-dragon.isAdminPortOpen" .) (not $values.networkPolicy.enabled) }}
- "networkPolicy.enabled: without it everyone in the cluster could export, import and delete every account at the admin port, which metrics without bearerTokenSecret need"
{{- end }}
{{- if $values.metrics.enabled }}
  {{- if and $values.networkPolicy.enabled (not $values.metrics.from) }}
- "metrics.from: say where Prometheus is, which the NetworkPolicy keeps out otherwise"
  {{- end }}
  {{- if and $values.metrics.bearerTokenSecret.name $values.auth.insecure }}
- "metrics.bearerTokenSecret: a server with auth.insecure knows no tokens; say in metrics.from who may reach the admin port"
  {{- end }}
  {{- if and $values.metrics.bearerTokenSecret.name $values.tls.secretName (not $values.metrics.tlsConfig) }}
- "metrics.tlsConfig: say how Prometheus verifies the server, as in {serverName: dragon.example, ca: {secret: {name: …, key: ca.crt}}}"
  {{- end }}
{{- end }}

{{- with $values.backups }}
  {{- if and (not .to) (or .credentialsSecret.name .endpoint .region .ageRecipients .sse .sseKmsKey) }}
- "backups.to: say where backups go, as in s3://BUCKET/PREFIX"
  {{- end }}
  {{- if and .sseKmsKey (not .sse) }}
- "backups.sseKmsKey: set backups.sse, as in aws:kms"
  {{- end }}
{{- end }}
{{- if and (not (kindIs "invalid" $values.tracing.ratio)) (not $values.tracing.endpoint) }}
- "tracing.endpoint: say where traces go"
{{- end }}

{{- if and $values.ingress.enabled (not $values.ingress.hosts) }}
- "ingress.hosts: name at least one"
{{- end }}
{{- if $values.gateway.enabled }}
  {{- if not $values.gateway.parentRefs }}
- "gateway.parentRefs: name the gateway"
  {{- end }}
  {{- if and $values.tls.secretName (not $values.gateway.backendTLS.hostname) }}
- "gateway.backendTLS.hostname: gateways speak plain HTTP to a server with TLS unless they are told a name in its certificate"
  {{- end }}
{{- end }}

{{- $own := list }}
{{- range include "cloud-dragon.ownEnv" . | fromYamlArray }}{{ $own = append $own .name }}{{ end }}
{{- range $values.extraEnv }}
  {{- /* The one setting of the server that has no value here. The others could undo what is refused above. */}}
  {{- $isSetting := and (hasPrefix "DRAGON_" .name) (ne .name "DRAGON_FAST_PATH") }}
  {{- if or $isSetting (has .name $own) }}
- {{ printf "extraEnv: %s is for the chart's other values to set" .name | quote }}
  {{- end }}
{{- end }}

{{- with $values.autoscaling }}
  {{- if .enabled }}
    {{- if gt (int .minReplicas) (int .maxReplicas) }}
- "autoscaling.minReplicas is above maxReplicas"
    {{- end }}
    {{- if not (or .metrics (dig "requests" "cpu" "" $values.resources)) }}
- "resources.requests.cpu: the share of the CPU that autoscaling goes by is of what is requested"
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}
