{{- define "openscale-byok-crds.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" "openscale-byok"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/component" "crds"
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "openscale-byok"
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- merge $own .Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* A version as a number that can be compared, its first three numbers; 0 of what has none. */ -}}
{{- define "openscale-byok-crds.number" -}}
{{- $parts := concat (regexFindAll "[0-9]+" . 3) (list "0" "0" "0") -}}
{{- add (mul (atoi (index $parts 0)) 1000000) (mul (atoi (index $parts 1)) 1000) (atoi (index $parts 2)) -}}
{{- end -}}

{{- /* Where Helm asks the cluster (install, upgrade): what is newer stays, and what is another's is taken on purpose only. */ -}}
{{- define "openscale-byok-crds.check" -}}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" .name -}}
{{- if $there -}}
{{- $notes := dig "metadata" "annotations" (dict) $there -}}
{{- $release := get $notes "meta.helm.sh/release-name" -}}
{{- $space := get $notes "meta.helm.sh/release-namespace" -}}
{{- if not (or .root.Values.takeOwnership (and (eq $release .root.Release.Name) (eq $space .root.Release.Namespace))) -}}
{{- $whose := ternary (printf "of the release %s in namespace %s" $release $space) "of no Helm release (kubectl apply)" (ne $release "") -}}
{{- fail (printf "%s is there already, and is %s; to have this release own it from now on, add both: --take-ownership --set takeOwnership=true" .name $whose) -}}
{{- end -}}
{{- $version := get $notes "openscale.byok.dev/version" -}}
{{- if gt (include "openscale-byok-crds.number" $version | int) (include "openscale-byok-crds.number" .root.Chart.Version | int) -}}
{{- fail (printf "%s is of version %s, and this chart is %s: definitions never go back, as the API server would drop the fields that the older ones do not know from every object that is written; an older operator works with the newer ones" .name $version .root.Chart.Version) -}}
{{- end -}}
{{- end -}}
{{- end -}}
