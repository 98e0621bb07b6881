{{- define "hookyard.name" -}}
{{- printf "%s-hookyard" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "hookyard.labels" -}}
app.kubernetes.io/name: hookyard
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "hookyard.secretEnv" -}}
- {name: HOOKYARD_AMQP_URL, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: amqp-url}}}
- {name: HOOKYARD_REDIS_URL, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: redis-url}}}
{{- if .Values.journalHasItsOwnRedis }}
- {name: HOOKYARD_REDIS_JOURNAL_URL, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: redis-journal-url}}}
{{- end }}
- {name: HOOKYARD_SECRET_KEY, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: secret-key}}}
- {name: HOOKYARD_JWT_SECRET, valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: jwt-secret}}}
{{- end -}}
