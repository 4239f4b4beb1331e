{{- /* The namespaces that are served, as JSON; and what does not go with them. */ -}}
{{- define "openscale-byok.namespaces" -}}
{{- $scope := .Values.scope -}}
{{- if $scope.namespaces -}}
{{- if .Values.secretAccess.clusterWide -}}
{{- fail "secretAccess.clusterWide: only scope.namespaces are served; name those of them in secretAccess.namespaces" -}}
{{- end -}}
{{- range .Values.secretAccess.namespaces -}}
{{- if not (has . $scope.namespaces) -}}
{{- fail (printf "secretAccess.namespaces: %s is not served; add it to scope.namespaces, or leave it out" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $scope.clusterObjects -}}
{{- if not $scope.namespaces -}}
{{- fail "scope.clusterObjects: without objects of the cluster, name the namespaces to serve in scope.namespaces" -}}
{{- end -}}
{{- if .Values.gateway.enabled -}}
{{- fail "gateway.enabled: the gateway asks the API server who its callers are and what they may do (TokenReview, SubjectAccessReview), which no Role in a namespace can grant; set gateway.enabled=false, or scope.clusterObjects=true" -}}
{{- end -}}
{{- if .Values.crds.enabled -}}
{{- fail "crds.enabled: CustomResourceDefinitions are objects of the cluster; have them applied (kubectl apply -k crds), and set crds.enabled=false" -}}
{{- end -}}
{{- end -}}
{{- toJson $scope.namespaces -}}
{{- end -}}
