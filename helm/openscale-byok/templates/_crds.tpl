{{- /* A version as a number that can be compared, its first three numbers; 0 of what has none. */ -}}
{{- define "openscale-byok.number" -}}
{{- $parts := concat (regexFindAll "[0-9]+" . 3) (list "0" "0" "0") -}}
{{- add (mul (atoi (index $parts 0)) 1000000) (mul (atoi (index $parts 1)) 1000) (atoi (index $parts 2)) -}}
{{- end -}}

{{- /* Whether this release renders a CustomResourceDefinition: (dict "root" $ "name" …). Where Helm asks the cluster
       (install, upgrade), it refuses what would lose data: an operator that is newer than its definitions writes fields
       that the API server drops. A rollback renders nothing: what it may not do is in policies/crd-rollback.yaml. */ -}}
{{- define "openscale-byok.crd" -}}
{{- $crds := .root.Values.crds -}}
{{- $cluster := dict -}}
{{- $there := dict -}}
{{- if and .root.Values.scope.clusterObjects (or $crds.check $crds.enabled) -}}
{{- $cluster = lookup "v1" "Namespace" "" "default" -}}
{{- $there = lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" .name -}}
{{- end -}}
{{- $notes := dig "metadata" "annotations" (dict) ($there | default (dict)) -}}
{{- $release := get $notes "meta.helm.sh/release-name" -}}
{{- $space := get $notes "meta.helm.sh/release-namespace" -}}
{{- $ours := and (eq $release .root.Release.Name) (eq $space .root.Release.Namespace) -}}
{{- $version := get $notes "openscale.byok.dev/version" | default "0.0.0" -}}
{{- $theirs := include "openscale-byok.number" $version | int -}}
{{- $own := include "openscale-byok.number" .root.Chart.Version | int -}}
{{- $newer := "helm upgrade --install openscale-byok-crds helm/openscale-byok-crds" -}}
{{- $kept := eq (get $notes "helm.sh/resource-policy") "keep" -}}
{{- if and $there $ours (not $kept) (or (not $crds.enabled) (gt $theirs $own)) -}}
{{- fail (printf "%s would be deleted, with every object: this release made it with crds.keep=false, and does not render it any more. First keep it: kubectl annotate crd %s helm.sh/resource-policy=keep" .name .name) -}}
{{- end -}}
{{- if not $crds.enabled -}}
{{- if and $cluster $crds.check -}}
{{- if not $there -}}
{{- fail (printf "%s is not there. Install the definitions first: %s --namespace %s; or, to try it out, set crds.enabled=true" .name $newer .root.Release.Namespace) -}}
{{- else if lt $theirs $own -}}
{{- fail (printf "%s is of version %s, this chart is %s: the API server would drop fields that this operator writes. Upgrade the definitions first: %s (where another made them: kubectl apply -k crds)" .name $version .root.Chart.Version $newer) -}}
{{- end -}}
{{- end -}}
{{- else if and $there (not $ours) (not $crds.takeOwnership) -}}
{{- $whose := ternary (printf "of the release %s in namespace %s" $release $space) "of no Helm release (kubectl apply)" (ne $release "") -}}
{{- fail (printf "crds.enabled: %s is there already, and is %s. Leave it to whoever made it: crds.enabled=false; or have this release own it, with both: --take-ownership --set crds.takeOwnership=true" .name $whose) -}}
{{- else if not (and $there (gt $theirs $own)) -}}
render
{{- end -}}
{{- end -}}
