{{- /* The settings that operator and gateway share, as a list of variables. */ -}}
{{- define "openscale-byok.settings" -}}
{{- toYaml (concat (include "openscale-byok.egressEnv" . | fromYamlArray) (list
  (dict "name" "OPENSCALE_BYOK_NAMESPACES" "value" (include "openscale-byok.namespaces" .))
  (dict "name" "OPENSCALE_BYOK_GLOBAL_KEY_SECRET" "value" .Values.settings.globalKeySecret)
  (dict "name" "OPENSCALE_BYOK_GLOBAL_ROOT_KEY" "value" .Values.settings.globalRootKey)
  (dict "name" "OPENSCALE_BYOK_GLOBAL_ROOT_KEY_FORMER" "value" .Values.settings.globalRootKeyFormer)
  (dict "name" "OPENSCALE_BYOK_GLOBAL_ROOT_KEY_SECRET" "value" .Values.settings.globalRootKeySecret)
  (dict "name" "OPENSCALE_BYOK_GLOBAL_ROOT_KEY_ENDPOINT" "value" .Values.settings.globalRootKeyEndpoint)
  (dict "name" "OPENSCALE_BYOK_INSECURE_HTTP" "value" (toString .Values.settings.insecureHttp))
  (dict "name" "OPENSCALE_BYOK_IAM_URL" "value" .Values.settings.iamUrl)
  (dict "name" "OPENSCALE_BYOK_KEY_PROTECT_URL" "value" .Values.settings.keyProtectUrl)
  (dict "name" "OPENSCALE_BYOK_ALLOWED_ENDPOINTS" "value" (toJson .Values.settings.allowedEndpoints))
  (dict "name" "OPENSCALE_BYOK_ALLOWED_ROOT_KEYS" "value" (toJson .Values.settings.allowedRootKeys))
  (dict "name" "OPENSCALE_BYOK_ALLOWED_INSTANCES" "value" (toJson .Values.settings.allowedInstances))
  (dict "name" "OPENSCALE_BYOK_MINIMUM_RETENTION_DAYS" "value" (toString .Values.settings.minimumRetentionDays))
  (dict "name" "OPENSCALE_BYOK_TRUSTED_PROFILES" "value" (toString .Values.trustedProfiles.enabled))
  (dict "name" "OPENSCALE_BYOK_KEY_POLL_SECONDS" "value" (toString .Values.settings.keyPollSeconds))
  (dict "name" "OPENSCALE_BYOK_SOURCE_REFRESH_SECONDS" "value" (toString .Values.settings.sourceRefreshSeconds))
  (dict "name" "OPENSCALE_BYOK_WRITES_IN_FLIGHT" "value" (toString .Values.settings.writesInFlight))
  (dict "name" "OPENSCALE_BYOK_INSTANCES_AT_ONCE" "value" (toString .Values.settings.instancesAtOnce))
  (dict "name" "OPENSCALE_BYOK_AUDIT_FILE" "value" .Values.settings.auditFile)
  (dict "name" "OPENSCALE_BYOK_AUDIT_CHAIN" "value" (toString .Values.settings.auditChain))
  (dict "name" "OPENSCALE_BYOK_LOG_LEVEL" "value" .Values.settings.logLevel)
  (dict "name" "OPENSCALE_BYOK_LOG_FORMAT" "value" .Values.settings.logFormat)
)) -}}
{{- end -}}

{{- /* The pod of a component:
       (dict "root" $ "component" "operator" "account" … "args" (list …) "env" (list of variables) "resources" (dict …)
             "grace" (seconds to end what is under way) "container" (text: more fields of the container) "pod" (text: more fields of the pod)
             "certificate" (the Secret of a serving certificate, or "")). */ -}}
{{- define "openscale-byok.pod" -}}
{{- $values := .root.Values -}}
{{- /* Of this component, or of both. */ -}}
{{- $own := dict -}}
{{- range list "affinity" "extraContainers" "extraInitContainers" "extraVolumeMounts" "extraVolumes" "nodeSelector" "podAnnotations" "podLabels" "priorityClassName" "tolerations" -}}
{{- $_ := set $own . (get (ternary $values.gateway dict (eq $.component "gateway")) . | default (get $values .)) -}}
{{- end -}}
{{- include "openscale-byok.auditCheck" (dict "root" .root "mounts" $own.extraVolumeMounts) -}}
{{- $taken := list "OPENSCALE_BYOK_NAMESPACE" "POD_NAME" }}
{{- range concat .env $values.extraEnv }}
{{- if has .name $taken }}
{{- fail (printf "extraEnv: %s is set already; each variable may be there once" .name) }}
{{- end }}
{{- $taken = append $taken .name }}
{{- end -}}
metadata:
  labels:
    {{- merge (include "openscale-byok.labelsOf" . | fromYaml) $own.podLabels | toYaml | nindent 4 }}
  {{- with $own.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ .account }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if not $values.hostUsers }}
  hostUsers: false
  {{- end }}
  {{- with $values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with $values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
    {{- with include "openscale-byok.auditGroup" . }}
    fsGroup: {{ . }}
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
  {{- with $own.extraInitContainers }}
  initContainers:
    {{- range . }}
    - {{ merge (deepCopy .) (dict "securityContext" $values.securityContext) | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "openscale-byok.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ toJson .args }}
      env:
        - name: OPENSCALE_BYOK_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        {{- if $values.audit.persistence.enabled }}
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- end }}
        {{- range .env }}
        - name: {{ .name }}
          value: {{ .value | quote }}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .container }}
      {{- . | nindent 6 }}
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      volumeMounts:
        - name: kube-api-access
          mountPath: /var/run/secrets/kubernetes.io/serviceaccount
          readOnly: true
        - name: tmp
          mountPath: /tmp
        {{- if .certificate }}
        - name: certificate
          mountPath: {{ include "openscale-byok.certificateFolder" . }}
          readOnly: true
        {{- end }}
        {{- with include "openscale-byok.egressMounts" .root }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with include "openscale-byok.auditMount" . }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $own.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- range $own.extraContainers }}
    - {{ merge (deepCopy .) (dict "securityContext" $values.securityContext) | toYaml | nindent 6 | trim }}
    {{- end }}
  volumes:
    # What automountServiceAccountToken would give to every container, also to those that others inject.
    - name: kube-api-access
      projected:
        defaultMode: 0444
        sources:
          - serviceAccountToken:
              path: token
              expirationSeconds: 3607
          - configMap:
              name: kube-root-ca.crt
              items:
                - key: ca.crt
                  path: ca.crt
          - downwardAPI:
              items:
                - path: namespace
                  fieldRef:
                    fieldPath: metadata.namespace
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 16Mi
    {{- with .certificate }}
    - name: certificate
      secret:
        secretName: {{ . }}
        defaultMode: 0444 # the user of the image, or of OpenShift, is not known here
    {{- end }}
    {{- with include "openscale-byok.egressVolumes" .root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with include "openscale-byok.auditVolumes" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $own.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .pod }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "openscale-byok.certificateFolder" -}}
/etc/openscale-byok/certificate
{{- end -}}
