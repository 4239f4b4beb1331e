{{- define "openscale-byok.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* 50 characters, so that there is room for what some objects append. */ -}}
{{- define "openscale-byok.fullname" -}}
{{- $name := include "openscale-byok.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "openscale-byok.gateway" -}}
{{- printf "%s-gateway" (include "openscale-byok.fullname" .) -}}
{{- end -}}

{{- /* ClusterRoles that owners bind in their namespaces. */ -}}
{{- define "openscale-byok.binder" -}}
{{- printf "%s-binder" (include "openscale-byok.fullname" .) -}}
{{- end -}}

{{- define "openscale-byok.credentialsReader" -}}
{{- printf "%s-credentials-reader" (include "openscale-byok.fullname" .) -}}
{{- end -}}

{{- define "openscale-byok.gatewayUser" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "openscale-byok.gatewayServiceAccount" .) -}}
{{- end -}}

{{- define "openscale-byok.operatorUser" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "openscale-byok.serviceAccount" .) -}}
{{- end -}}

{{- /* Of a component: (dict "root" $ "component" "operator"). */ -}}
{{- define "openscale-byok.selectorOf" -}}
app.kubernetes.io/name: {{ include "openscale-byok.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* The chart's own come first: no commonLabel breaks a selector. */ -}}
{{- define "openscale-byok.labelsOf" -}}
{{ include "openscale-byok.selectorOf" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: openscale-byok
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- range $name, $value := .root.Values.commonLabels }}
{{- if not (or (eq $name "helm.sh/chart") (has $name (include "openscale-byok.ownLabels" $ | fromYamlArray))) }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "openscale-byok.ownLabels" -}}
{{- range list "name" "instance" "component" "version" "part-of" "managed-by" }}
- app.kubernetes.io/{{ . }}
{{- end }}
{{- end -}}

{{- /* The metadata of an object: (dict "root" $ "component" "operator" "name" … "namespace" … "labels" (dict …) "annotations" (dict …)).
       Without a namespace it is the cluster's. The chart's own annotations come before commonAnnotations. */ -}}
{{- define "openscale-byok.metadata" -}}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "openscale-byok.labelsOf" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "openscale-byok.labels" -}}
{{- include "openscale-byok.labelsOf" (dict "root" . "component" "operator") -}}
{{- end -}}

{{- define "openscale-byok.gatewayLabels" -}}
{{- include "openscale-byok.labelsOf" (dict "root" . "component" "gateway") -}}
{{- end -}}

{{- define "openscale-byok.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "openscale-byok.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* Another than the operator's: the gateway's rights are smaller, and the policies tell the two apart. */ -}}
{{- define "openscale-byok.gatewayServiceAccount" -}}
{{- $own := ternary (include "openscale-byok.gateway" .) "default" .Values.gateway.serviceAccount.create -}}
{{- $name := .Values.gateway.serviceAccount.name | default $own -}}
{{- if eq $name (include "openscale-byok.serviceAccount" .) -}}
{{- fail (printf "gateway.serviceAccount.name: %s is the operator's; the gateway needs an account of its own" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "openscale-byok.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
