{{- /* The way to Key Protect and IAM: the proxy's credentials and the authorities, as files of the pod. */ -}}
{{- define "openscale-byok.egressFolder" -}}
/etc/openscale-byok
{{- end -}}

{{- define "openscale-byok.egressEnv" -}}
{{- $folder := include "openscale-byok.egressFolder" . -}}
{{- $proxy := .Values.settings.proxy -}}
{{- $bundle := .Values.settings.caBundle -}}
{{- if and $bundle.configMapName $bundle.secretName -}}
{{- fail "settings.caBundle: name a ConfigMap or a Secret, not both" -}}
{{- end -}}
{{- if and $proxy.secretName (not $proxy.url) -}}
{{- fail "settings.proxy.secretName: there is no proxy that these credentials are for; set settings.proxy.url" -}}
{{- end -}}
{{- $given := or $bundle.configMapName $bundle.secretName -}}
{{- toYaml (list
  (dict "name" "OPENSCALE_BYOK_PROXY_URL" "value" $proxy.url)
  (dict "name" "OPENSCALE_BYOK_NO_PROXY" "value" (toJson $proxy.noProxy))
  (dict "name" "OPENSCALE_BYOK_PROXY_CREDENTIALS" "value" (ternary (printf "%s/proxy" $folder) "" (ne $proxy.secretName "")))
  (dict "name" "OPENSCALE_BYOK_CA_BUNDLE" "value" (ternary (printf "%s/ca-bundle/%s" $folder $bundle.key) "" (not (empty $given))))
) -}}
{{- end -}}

{{- define "openscale-byok.egressMounts" -}}
{{- $folder := include "openscale-byok.egressFolder" . -}}
{{- if .Values.settings.proxy.secretName }}
- name: proxy
  mountPath: {{ $folder }}/proxy
  readOnly: true
{{- end }}
{{- if or .Values.settings.caBundle.configMapName .Values.settings.caBundle.secretName }}
- name: ca-bundle
  mountPath: {{ $folder }}/ca-bundle
  readOnly: true
{{- end }}
{{- end -}}

{{- define "openscale-byok.egressVolumes" -}}
{{- with .Values.settings.proxy.secretName }}
- name: proxy
  secret:
    secretName: {{ . }}
    defaultMode: 0444 # the user of the image, or of OpenShift, is not known here
{{- end }}
{{- with .Values.settings.caBundle.configMapName }}
- name: ca-bundle
  configMap:
    name: {{ . }}
{{- end }}
{{- with .Values.settings.caBundle.secretName }}
- name: ca-bundle
  secret:
    secretName: {{ . }}
    defaultMode: 0444
{{- end }}
{{- end -}}
