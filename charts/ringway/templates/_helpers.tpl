{{/* Names are fixed: the kinds and the resource names are the cluster's, so is the installation. */}}

{{- define "ringway.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Labels of an object; call with a dict of root and component. */}}
{{- define "ringway.labels" -}}
{{ include "ringway.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels by which a workload finds its pods: never to change. */}}
{{- define "ringway.selector" -}}
app.kubernetes.io/name: ringway
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Where a pod runs; call with a workload's values. */}}
{{- define "ringway.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "ringway.container" -}}
image: {{ include "ringway.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "ringway.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a container that needs nothing of the node may do: nothing. */}}
{{- define "ringway.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- if .Values.appArmor.enabled }}
appArmorProfile: {type: RuntimeDefault}
{{- end }}
{{- end }}

{{/* Root by its files only. Equal to root all the same for who can write CDI specs: container
     runtimes run what they name. */}}
{{- define "ringway.root" -}}
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- if .Values.appArmor.enabled }}
appArmorProfile: {type: RuntimeDefault}
{{- end }}
{{- end }}
