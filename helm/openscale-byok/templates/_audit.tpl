{{- /* A volume for the audit's file. With a chain a file has one writer, and a gateway's replicas begin and end while
       others run: so each pod of the gateway writes in a folder of its own, named after the pod. */ -}}

{{- /* What holds for a component, as YAML: (dict "root" $ "component" …). */ -}}
{{- define "openscale-byok.auditVolume" -}}
{{- $own := deepCopy .root.Values.audit.persistence -}}
{{- if eq .component "gateway" -}}
{{- range $name, $value := .root.Values.gateway.audit.persistence -}}
{{- if $value }}{{ $_ := set $own $name $value }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $own.type "existingClaim") (not $own.existingClaim) -}}
{{- fail "audit.persistence.existingClaim: name the PersistentVolumeClaim, or set audit.persistence.type to claim or emptyDir" -}}
{{- end -}}
{{- if and (eq .component "gateway") (eq $own.type "claim") (not (has "ReadWriteMany" $own.accessModes)) -}}
{{- fail "gateway.audit.persistence.accessModes: ReadWriteMany is missing: replicas on several nodes share the claim; without such storage set gateway.audit.persistence.type to emptyDir, and have an extraContainer carry the lines away" -}}
{{- end -}}
{{- toYaml $own -}}
{{- end -}}

{{- define "openscale-byok.auditClaim" -}}
{{- printf "%s-audit" (ternary (include "openscale-byok.gateway" .root) (include "openscale-byok.fullname" .root) (eq .component "gateway")) -}}
{{- end -}}

{{- /* Refuses what would end each container at its start: (dict "root" $ "mounts" (list of extraVolumeMounts)). */ -}}
{{- define "openscale-byok.auditCheck" -}}
{{- $file := .root.Values.settings.auditFile -}}
{{- $volume := .root.Values.audit.persistence -}}
{{- $folders := ternary (list $volume.mountPath) list $volume.enabled -}}
{{- range .mounts -}}
{{- if not .readOnly }}{{ $folders = append $folders .mountPath }}{{ end -}}
{{- end -}}
{{- $there := false -}}
{{- range $folders -}}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" .)) $file }}{{ $there = true }}{{ end -}}
{{- end -}}
{{- if and $volume.enabled (eq $file "-") -}}
{{- fail (printf "audit.persistence.enabled: nothing is written there; set settings.auditFile to a file below audit.persistence.mountPath, as in %s/audit.log" (trimSuffix "/" $volume.mountPath)) -}}
{{- end -}}
{{- if and (ne $file "-") (not $there) -}}
{{- fail (printf "settings.auditFile: %s is on no volume, and the pods' own file system cannot be written; set audit.persistence.enabled=true and a file below %s, or mount a volume of your own there (extraVolumes, extraVolumeMounts)" $file $volume.mountPath) -}}
{{- end -}}
{{- end -}}

{{- /* Of the container; the name of its pod is in POD_NAME. */ -}}
{{- define "openscale-byok.auditMount" -}}
{{- if .root.Values.audit.persistence.enabled -}}
{{- $own := include "openscale-byok.auditVolume" . | fromYaml -}}
- name: audit
  mountPath: {{ $own.mountPath }}
  {{- if ne $own.type "emptyDir" }}
  {{- if eq .component "gateway" }}
  subPathExpr: gateway/$(POD_NAME)
  {{- else }}
  subPath: operator
  {{- end }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "openscale-byok.auditVolumes" -}}
{{- if .root.Values.audit.persistence.enabled -}}
{{- $own := include "openscale-byok.auditVolume" . | fromYaml -}}
- name: audit
  {{- if eq $own.type "emptyDir" }}
  emptyDir:
    sizeLimit: {{ $own.size }}
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ ternary (include "openscale-byok.auditClaim" .) $own.existingClaim (eq $own.type "claim") }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* The group that a claim's volume is made writable for; "" where it is nobody's business here. */ -}}
{{- define "openscale-byok.auditGroup" -}}
{{- if .root.Values.audit.persistence.enabled -}}
{{- $own := include "openscale-byok.auditVolume" . | fromYaml -}}
{{- if and (ne $own.type "emptyDir") $own.fsGroup (not (hasKey .root.Values.podSecurityContext "fsGroup")) }}{{ int64 $own.fsGroup }}{{ end -}}
{{- end -}}
{{- end -}}
