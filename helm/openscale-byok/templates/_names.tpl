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

{{- define "openscale-byok.selector" -}}
app.kubernetes.io/name: {{ include "openscale-byok.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "openscale-byok.labels" -}}
app.kubernetes.io/name: {{ include "openscale-byok.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: openscale-byok
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "openscale-byok.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "openscale-byok.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "openscale-byok.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* Who the rights are for. */ -}}
{{- define "openscale-byok.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "openscale-byok.serviceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* What a namespace grants: get, to seal and to authenticate; delete, for what is handed over. */ -}}
{{- define "openscale-byok.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [delete, get]
{{- if .Values.trustedProfiles.enabled }}
- apiGroups: [""]
  resources: [serviceaccounts/token]
  {{- with .Values.trustedProfiles.serviceAccounts }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [create]
{{- end }}
{{- end -}}
