{{- /* What operator and gateway call: the API server, DNS, Key Protect and IAM (or the proxy on that way). */ -}}
{{- define "openscale-byok.egressRules" -}}
{{- $egress := .Values.networkPolicy.egress -}}
{{- $ibm := $egress.keyProtect.ports -}}
{{- if not $ibm -}}
{{- $proxy := regexFind "[0-9]+/?$" .Values.settings.proxy.url | trimSuffix "/" -}}
{{- $ibm = ternary (list 443) (list) (or (eq $proxy "") (not (empty .Values.settings.proxy.noProxy))) -}}
{{- with $proxy }}{{ $ibm = prepend $ibm (int .) }}{{ end -}}
{{- end -}}
{{- range list
  (dict "ports" $egress.apiServer.ports "to" $egress.apiServer.to "protocols" (list "TCP"))
  (dict "ports" $egress.dns.ports "to" $egress.dns.to "protocols" (list "UDP" "TCP"))
  (dict "ports" $ibm "to" $egress.keyProtect.to "protocols" (list "TCP"))
}}
{{- $rule := . }}
- ports:
    {{- range $protocol := .protocols }}
    {{- range $rule.ports }}
    - port: {{ . }}
      protocol: {{ $protocol }}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- with $egress.more }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* What may be called: (dict "from" (list of peers) "port" "health"), nobody where there are none. */ -}}
{{- define "openscale-byok.ingressRule" -}}
- ports:
    - port: {{ .port }}
      protocol: TCP
  {{- with .from }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
