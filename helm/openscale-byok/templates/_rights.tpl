{{- /* Who the operator's rights are for. */ -}}
{{- define "openscale-byok.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "openscale-byok.serviceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "openscale-byok.gatewaySubjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "openscale-byok.gatewayServiceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* Reading the global key. */ -}}
{{- define "openscale-byok.globalKeyRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Values.settings.globalKeySecret }}]
  verbs: [get]
{{- if or .Values.settings.globalRootKey .Values.settings.globalRootKeyFormer }}
# The API key of the operator's owner, for the root key that is the global key.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Values.settings.globalRootKeySecret }}]
  verbs: [get]
{{- end }}
{{- end -}}

{{- /* What is granted where Secrets are: (dict "root" $ "verbs" (list "get")). */ -}}
{{- define "openscale-byok.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: {{ toJson .verbs }}
{{- if .root.Values.trustedProfiles.enabled }}
- apiGroups: [""]
  resources: [serviceaccounts/token]
  {{- with .root.Values.trustedProfiles.serviceAccounts }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [create]
{{- end }}
{{- end -}}

{{- /* Roles and their bindings wherever secretAccess says:
       (dict "root" $ "name" … "labels" … "subjects" … "verbs" (list …)). */ -}}
{{- define "openscale-byok.secretAccess" -}}
{{- $cluster := .root.Values.secretAccess.clusterWide -}}
{{- $rules := include "openscale-byok.secretRules" . -}}
{{- range ternary (list "") .root.Values.secretAccess.namespaces $cluster }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRole" "Role" $cluster }}
metadata:
  name: {{ $.name }}-secrets
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- $.labels | nindent 4 }}
rules:
  {{- $rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRoleBinding" "RoleBinding" $cluster }}
metadata:
  name: {{ $.name }}-secrets
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- $.labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "ClusterRole" "Role" $cluster }}
  name: {{ $.name }}-secrets
{{ $.subjects }}
{{- end }}
{{- end -}}
