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

{{- /* Of namespaces those that a Role can be made in, as a JSON list: (dict "root" $ "namespaces" (list …) "role" (its name)).
       One that is not there (yet, or any more) would fail every install and upgrade. Only where Helm asks a cluster (each
       has the namespace "default"): helm template, and so Argo CD, renders them all. The release's own may be made by
       --create-namespace, after this. In one that is going away a Role that is there stays, and none can be made. Who may
       make no object of the cluster may not look at its namespaces either. */ -}}
{{- define "openscale-byok.presentNamespaces" -}}
{{- $present := list -}}
{{- $asks := dict -}}
{{- if .root.Values.scope.clusterObjects }}{{ $asks = lookup "v1" "Namespace" "" "default" }}{{ end -}}
{{- range .namespaces -}}
{{- $there := dict -}}
{{- if $asks }}{{ $there = lookup "v1" "Namespace" "" . }}{{ end -}}
{{- $going := dig "metadata" "deletionTimestamp" "" ($there | default (dict)) -}}
{{- if or (not $asks) (eq . $.root.Release.Namespace) (and $there (or (not $going) (lookup "rbac.authorization.k8s.io/v1" "Role" . $.role))) -}}
{{- $present = append $present . -}}
{{- end -}}
{{- end -}}
{{- toJson $present -}}
{{- end -}}

{{- /* Rules for an account, in the whole cluster or in some namespaces only:
       (dict "root" $ "component" … "name" (of the roles) "subjects" … "rules" … "namespaces" (list; empty: the cluster)). */ -}}
{{- define "openscale-byok.grant" -}}
{{- $cluster := empty .namespaces -}}
{{- $places := list "" -}}
{{- if .namespaces }}{{ $places = include "openscale-byok.presentNamespaces" (dict "root" .root "namespaces" .namespaces "role" .name) | fromJsonArray }}{{ end -}}
{{- range $places }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRole" "Role" $cluster }}
{{ include "openscale-byok.metadata" (dict "root" $.root "component" $.component "name" $.name "namespace" .) }}
rules:
  {{- $.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRoleBinding" "RoleBinding" $cluster }}
{{ include "openscale-byok.metadata" (dict "root" $.root "component" $.component "name" $.name "namespace" .) }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "ClusterRole" "Role" $cluster }}
  name: {{ $.name }}
{{ $.subjects }}
{{- end }}
{{- end -}}

{{- /* What is granted wherever secretAccess says:
       (dict "root" $ "component" … "name" … "subjects" … "verbs" (list …)). */ -}}
{{- define "openscale-byok.secretAccess" -}}
{{- $access := .root.Values.secretAccess -}}
{{- if or $access.clusterWide $access.namespaces }}
{{- include "openscale-byok.grant" (merge (dict
  "name" (printf "%s-secrets" .name)
  "rules" (include "openscale-byok.secretRules" .)
  "namespaces" (ternary (list) $access.namespaces $access.clusterWide)
) .) }}
{{- end }}
{{- end -}}

{{- /* Rules about our kinds, wherever they are served; of another name in namespaces, where a Role of that name may be. */ -}}
{{- define "openscale-byok.kindAccess" -}}
{{- $namespaces := .root.Values.scope.namespaces -}}
{{- include "openscale-byok.grant" (merge (dict
  "name" (ternary .name (printf "%s-objects" .name) (empty $namespaces))
  "namespaces" $namespaces
) .) }}
{{- end -}}
