{{- /* Policies have fixed names. Two of a kind, each of another release, would forbid the other's operator its writes.
       Where Helm asks the cluster (install, upgrade), a second release is refused here, before anything is written. */ -}}
{{- define "openscale-byok.policyName" -}}
{{- $name := printf "openscale-byok-%s" .name -}}
{{- $there := lookup "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicy" "" $name -}}
{{- $notes := dig "metadata" "annotations" (dict) ($there | default (dict)) -}}
{{- with get $notes "meta.helm.sh/release-name" -}}
{{- $space := get $notes "meta.helm.sh/release-namespace" -}}
{{- if or (ne . $.root.Release.Name) (ne $space $.root.Release.Namespace) -}}
{{- fail (printf "one release for each cluster: the release %s in namespace %s is there, and its operator serves all namespaces; upgrade that one (helm upgrade %s --namespace %s), or uninstall it first" . $space . $space) -}}
{{- end -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- /* (dict "root" $ "name" "bind") */ -}}
{{- define "openscale-byok.policyHead" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
{{ include "openscale-byok.metadata" (dict "root" .root "component" "operator" "name" (include "openscale-byok.policyName" .)) }}
{{- end -}}

{{- define "openscale-byok.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
{{ include "openscale-byok.metadata" (dict "root" .root "component" "operator" "name" (printf "openscale-byok-%s" .name)) }}
spec:
  policyName: openscale-byok-{{ .name }}
  validationActions: [Deny]
  {{- /* What our own accounts do they do anywhere, and a definition is in no namespace. */ -}}
  {{- if and .root.Values.scope.namespaces (not (has .name (list "accounts" "crd-deletion" "crd-rollback"))) }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ toJson .root.Values.scope.namespaces }}
  {{- end }}
{{- end -}}

{{- define "openscale-byok.finalizer" -}}
openscale.byok.dev/protected
{{- end -}}

{{- /* CEL: whether "object" or "oldObject" has our finalizer. */ -}}
{{- define "openscale-byok.cel.held" -}}
('{{ include "openscale-byok.finalizer" . }}' in {{ . }}.metadata.?finalizers.orValue([]))
{{- end -}}

{{- /* CEL: whether it is the gateway's own, by its label; the second is that of 0.1.0. */ -}}
{{- define "openscale-byok.cel.gatewayMade" -}}
({{ . }}.metadata.?labels[?'openscale.byok.dev/managed-by'].orValue('') == 'gateway'
|| {{ . }}.metadata.?labels[?'app.kubernetes.io/managed-by'].orValue('') == 'openscale-byok-gateway')
{{- end -}}

{{- /* CEL: an update that leaves alone what decides. */ -}}
{{- define "openscale-byok.cel.sameSpec" -}}
request.operation == 'UPDATE' && object.?spec == oldObject.?spec
&& object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences
{{- end -}}
